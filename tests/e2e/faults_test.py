"""Faults of a device while requests run: each gets an error, /health says so, the process ends."""
import functools
import subprocess
import threading
import time

import openai
import pytest

from conftest import BIN, SPLIT, serve_pocket

QUESTION = [{"role": "user", "content": "Who won the world series in 2020?"}]
RANKS = [*SPLIT, "-tp", "4", "--step-timeout", "3"]
ONE_GPU = [*SPLIT, "--step-timeout", "3"]


@functools.cache
def has_gpu():
    devices = subprocess.run([BIN / "m2", "collect-env"], capture_output=True, text=True,
                             check=True).stdout
    return "multiprocessors" in devices  # what a plug-in tells of a GPU that it serves


def watch_end(server, said, logged=()):
    errors, health, ended = [], [], threading.Event()

    def ask():
        try:
            for _ in server.client().chat.completions.create(
                    model="pocket", messages=QUESTION, stream=True, max_tokens=2000,
                    extra_body={"ignore_eos": True}):
                pass
            errors.append("no error")
        except openai.APIError as error:
            errors.append(str(error))
        ended.set()

    def watch():
        while not ended.is_set() or server.process.poll() is None:
            try:
                health.append((ended.is_set(), server.request("GET", "/health")[0]))
            except OSError:
                if server.process.poll() is not None:
                    return
            time.sleep(0.005)

    threads = [threading.Thread(target=ask) for _ in range(3)] + [threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    assert ended.wait(60)
    told = time.monotonic()
    assert server.process.wait(10) == 1
    # The promise of the documents: non-zero within two seconds.
    assert time.monotonic() - told < 2
    for thread in threads:
        thread.join(10)
    assert len(errors) == 3 and all("no error" not in error for error in errors), errors
    assert any(said in error for error in errors), errors
    assert all(words in server.log_text() for words in (said, *logged)), server.log_text()
    # Before the fault 200; from the first error on never again.
    assert (False, 200) in health and (True, 200) not in health


@pytest.mark.parametrize("fault, said", [("die", "died: the device is gone"),
                                         ("hang", "missed its deadline")])
def test_a_rank_at_fault_ends_every_request_and_the_process(start, fault, said):
    server = start("m2-faulty", [fault, "2", "600", *serve_pocket(RANKS)])
    watch_end(server, said, ["rank 2"])


@pytest.mark.parametrize("fault, said", [("die", "CUDA: "),
                                         ("hang", "missed its deadline: the device hangs")])
def test_a_gpu_at_fault_ends_every_request_and_the_process(start, fault, said):
    if not has_gpu():
        pytest.skip("needs an NVIDIA GPU")
    server = start("m2-faulty", [fault, "gpu", "40", *serve_pocket(ONE_GPU)])
    watch_end(server, said, ["step ", "the kernel begun last: "])
