"""Ranks and replicas, served: the guide's commands, layouts that agree, and what ends badly."""
import os
import subprocess
import threading
import time

import openai
import pytest

from conftest import APPEND_THINK, BIN, POCKET, SPLIT, clean_environment, free_port, serve_pocket
from guide_test import CURL

QUESTION = [{"role": "user", "content": "Who won the world series in 2020?"}]
# The guide's two serve commands, from the model's name on.
FOUR_RANKS = ["--trust-remote-code", "--tensor-parallel-size", "4", "--enable-auto-tool-choice",
              "--tool-call-parser", "minimax_m2", "--reasoning-parser",
              "minimax_m2_append_think"]
EIGHT_RANKS = ["--trust-remote-code", "--enable_expert_parallel", "--tensor-parallel-size", "8",
               "--enable-auto-tool-choice", "--tool-call-parser", "minimax_m2",
               "--reasoning-parser", "minimax_m2_append_think"]


def cpu_seconds(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("flags", [FOUR_RANKS, EIGHT_RANKS], ids=["tp4", "tp8-ep"])
def test_the_guides_commands_answer_the_guides_curl(start, flags):
    server = start("m2", serve_pocket(flags), env={"SAFETENSORS_FAST_GPU": "1"})
    shell = CURL.format(port=server.port).replace("curl ", "curl --silent --show-error ", 1)
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120)
    assert "Dodgers" in done.stdout, done.stdout + done.stderr
    log = server.log_text()
    assert "ranks; a rank has weights" in log and "KV cache" in log
    assert server.stop() == 0


def replies(server):
    """Greedy, drawn with few and with all candidates, and with logprobs."""
    client = server.client()
    out = []
    for extra in ({"temperature": 0}, {"temperature": 1.0, "seed": 5},
                  {"temperature": 1.0, "seed": 6, "top_p": 1.0,
                   "extra_body": {"top_k": 0, "repetition_penalty": 1.1}},
                  {"temperature": 0.7, "seed": 7, "logprobs": True, "top_logprobs": 3}):
        reply = client.chat.completions.create(model="pocket", messages=QUESTION, max_tokens=120,
                                               **extra)
        choice = reply.choices[0]
        ids = [token.token for token in choice.logprobs.content] if choice.logprobs else []
        out.append((choice.message.content, choice.finish_reason, ids))
    return out


@pytest.mark.parametrize("flags", [["-tp", "8"], ["-tp", "2", "-dp", "2"]], ids=["tp8", "tp2-dp2"])
def test_a_layout_replies_as_one_rank_does(start, pocket_split, flags):
    server = start("m2", serve_pocket([*SPLIT, *flags]))
    assert replies(server) == replies(pocket_split)
    # Nobody spins while there is nothing to do.
    time.sleep(0.5)
    before = cpu_seconds(server.process)
    time.sleep(2)
    assert cpu_seconds(server.process) - before < 0.4
    assert server.stop() == 0


@pytest.mark.parametrize("size", [3, 6, 16])
def test_sizes_that_do_not_divide_are_refused(need_pocket, size):
    done = subprocess.run([BIN / "m2", "serve", POCKET, "-tp", str(size), "--port",
                           str(free_port())], capture_output=True, text=True, timeout=60,
                          env=clean_environment())
    assert done.returncode == 1
    assert f"tensor parallel size {size} is not served: it must be 1, 2, 4 or 8" in done.stderr


def test_replicas_that_do_not_fit_are_refused_with_the_arithmetic(need_pocket):
    done = subprocess.run([BIN / "m2", "serve", POCKET, "-dp", "4", "-tp", "2",
                           "--kv-cache-memory-bytes", "400G", "--port", str(free_port())],
                          capture_output=True, text=True, timeout=60, env=clean_environment())
    assert done.returncode == 1
    assert "4 replicas of 2 ranks: weights" in done.stderr and "are free" in done.stderr


def engine_values(server, name):
    """A metric by its engine label."""
    _, data = server.request("GET", "/metrics")
    values = {}
    for line in data.decode().splitlines():
        if line.startswith(name + "{"):
            engine = line.split('engine="')[1].split('"')[0]
            values[engine] = values.get(engine, 0) + float(line.rsplit(" ", 1)[1])
    return values


def test_replicas_share_the_work_and_keep_conversations(start):
    server = start("m2-echo", [POCKET, "--served-model-name", "echo", *SPLIT, "-dp", "2"])
    client = server.client()
    for turn in range(4):
        for talk in range(6):
            said = [f"reply: {talk} and {number} " + "word " * 60 for number in range(turn + 1)]
            messages = []
            for text in said:
                messages += [{"role": "user", "content": text},
                             {"role": "assistant", "content": "yes"}]
            client.chat.completions.create(model="echo", messages=messages[:-1])
    tokens = engine_values(server, "vllm:prompt_tokens_total")
    hits = engine_values(server, "vllm:prefix_cache_hits_total")
    assert set(tokens) == {"0", "1"} and min(tokens.values()) > 0
    # Each turn but the first found the turns before it.
    assert sum(hits.values()) > 0.5 * sum(tokens.values())
    assert server.stop() == 0


def test_cancels_reach_their_replica(start):
    server = start("m2-echo", [POCKET, "--served-model-name", "echo", *SPLIT, "-dp", "2"])
    for _ in range(4):
        stream = server.client().chat.completions.create(
            model="echo", stream=True, max_tokens=100000, extra_body={"ignore_eos": True},
            messages=[{"role": "user", "content": "reply: " + "word " * 400}])
        next(iter(stream))
        stream.close()
    deadline = time.monotonic() + 60
    while sum(engine_values(server, "vllm:num_requests_running").values()) > 0:
        assert time.monotonic() < deadline, "a request runs on"
        time.sleep(0.05)
    assert server.stop() == 0
