"""The program as a process: what it refuses, what it says, how it ends."""
import json
import signal
import socket
import subprocess
import threading
import time

import openai
import pytest

from conftest import APPEND_THINK, BIN, POCKET, SPLIT, clean_environment, free_port, serve_pocket


def run(*words, program="m2", timeout=60, env=None, stdin=None):
    return subprocess.run([str(BIN / program), *map(str, words)], capture_output=True, text=True,
                          timeout=timeout, env=clean_environment(env), input=stdin)


def test_version_and_help():
    assert run("--version").stdout.startswith("m2 0.")
    assert "serve" in run("--help").stdout
    assert "--tensor-parallel-size" in run("serve", "--help").stdout
    assert "processor" in run("collect-env").stdout


@pytest.mark.parametrize("words, said", [
    ([], "serve"),
    (["sevre"], "did you mean m2 serve"),
    (["serve"], "m2 serve MODEL"),
    (["serve", "m", "--tensor-paralel-size", "4"], "--tensor-parallel-size"),
    (["serve", "m", "--port", "99999"], "65535"),
    (["serve", "m", "--enable-lora"], "LoRA"),
    (["chat", "--prot", "1"], "--prot"),
    (["serve", "--help=prot"], "did you mean --help=port"),
])
def test_usage_errors_exit_2(words, said):
    done = run(*words)
    assert done.returncode == 2
    assert said in done.stdout + done.stderr


def test_a_folder_that_is_not_there():
    done = run("serve", "/nowhere/at/all", "--port", free_port())
    assert done.returncode == 1 and "/nowhere/at/all" in done.stderr
    assert "HF_" not in done.stderr


def test_a_repository_that_is_not_in_the_cache(tmp_path):
    done = run("serve", "MiniMaxAI/MiniMax-M2.5", "--port", free_port(),
               env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 1
    assert "MiniMaxAI/MiniMax-M2.5" in done.stderr and str(tmp_path) in done.stderr
    assert "HF_HUB_OFFLINE is set" in done.stderr


def test_another_model_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    done = run("serve", tmp_path, "--port", free_port())
    assert done.returncode == 1
    assert "llama" in done.stderr and "MiniMax-M2" in done.stderr


def test_a_checkpoint_without_its_weights(tmp_path, need_pocket):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((POCKET / name).read_bytes())
    done = run("serve", tmp_path, "--port", free_port())
    assert done.returncode == 1 and "safetensors" in done.stderr


def test_a_broken_file_of_end_tokens_is_named(tmp_path, need_pocket):
    for name in ("config.json", "tokenizer.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes((POCKET / name).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text("{")
    done = run("serve", tmp_path, "--port", free_port())
    assert done.returncode == 1 and "tokenizer_config.json" in done.stderr


def test_a_context_that_the_cache_cannot_hold_names_both_flags(need_pocket):
    done = run("serve", POCKET, "--max-model-len", "100k", "--kv-cache-memory-bytes", "64M",
               "--port", free_port())
    assert done.returncode == 1
    assert "max-model-len" in done.stderr and "--kv-cache-memory-bytes" in done.stderr


def test_a_busy_port_is_one_clear_line(need_pocket):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = run("serve", POCKET, "--host", "127.0.0.1", "--port", port)
    assert done.returncode == 1
    assert str(port) in done.stderr and "in use" in done.stderr


def test_make_serve_sees_a_busy_port_before_it_builds():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = subprocess.run(["scripts/serve.sh"], cwd=BIN.parent.parent.parent, text=True,
                              capture_output=True, timeout=60,
                              env=clean_environment({"PORT": str(port)}))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and f"port {port} is in use" in done.stderr


def test_the_guides_flags_and_variables_start_a_server(start):
    server = start("m2", serve_pocket([*APPEND_THINK, "--compilation-config",
                                       '{"cudagraph_mode": "PIECEWISE"}']),
                   env={"SAFETENSORS_FAST_GPU": "1", "VLLM_USE_V1": "1"})
    log = server.log_text()
    assert "VLLM_USE_V1" in log and "SAFETENSORS_FAST_GPU" not in log
    assert server.stop() == 0


def test_keys_guard_every_route_but_the_open_ones(start):
    server = start("m2-echo", [POCKET, "--served-model-name", "echo", *SPLIT],
                   env={"VLLM_API_KEY": "secret"})
    for path in ("/v1/models", "/v1/chat/completions", "/tokenize"):
        assert server.request("GET", path)[0] == 401, path
    for path in ("/health", "/ping", "/version", "/metrics"):
        assert server.request("GET", path)[0] == 200, path
    with pytest.raises(openai.AuthenticationError):
        server.client(api_key="wrong").models.list()
    assert [model.id for model in server.client(api_key="secret").models.list()] == ["echo"]
    assert "secret" not in server.log_text()


def test_sigterm_drains_open_requests(start):
    server = start("m2", serve_pocket([*SPLIT, "--shutdown-timeout", "60"]))
    chunks = server.client().chat.completions.create(
        model="pocket", messages=[{"role": "user", "content": "What is the capital of France?"}],
        stream=True, max_tokens=300, extra_body={"ignore_eos": True})
    stream = iter(chunks)
    next(stream)
    server.process.send_signal(signal.SIGTERM)
    finish = None
    for chunk in stream:
        finish = (chunk.choices and chunk.choices[0].finish_reason) or finish
    assert finish == "length"
    assert server.process.wait(60) == 0


def test_a_second_sigterm_stops_at_once(start):
    server = start("m2", serve_pocket([*SPLIT, "--shutdown-timeout", "600"]))
    started = threading.Event()

    def read():
        try:
            for _ in server.client().chat.completions.create(
                    model="pocket", messages=[{"role": "user", "content": "Hello"}], stream=True,
                    extra_body={"ignore_eos": True}):
                started.set()
        except openai.APIError:
            pass
        except Exception as error:  # noqa: BLE001  the connection may end in any way
            assert "peer" in str(error) or "closed" in str(error), error

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(60)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert server.process.poll() is None, "it drains"
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    reader.join(30)
    assert not reader.is_alive()


def test_a_server_starts_again_on_its_port(need_pocket, tmp_path):
    port = free_port()
    for _ in range(2):
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(
                [BIN / "m2", *map(str, serve_pocket(SPLIT)), "--host", "127.0.0.1", "--port",
                 str(port)], stderr=log, env=clean_environment())
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    with socket.create_connection(("127.0.0.1", port)) as connection:
                        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                        if b"200" in connection.recv(64):
                            break
                except OSError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.05)
            else:
                raise AssertionError("not ready")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


def test_terminal_clients(pocket_split):
    url = ["--url", f"http://127.0.0.1:{pocket_split.port}/v1"]
    done = run("chat", *url, "-q", "Who won the world series in 2020?", "--stats")
    assert done.returncode == 0 and "Dodgers" in done.stdout, done.stderr
    assert "reply tokens" in done.stderr
    talk = run("chat", *url, "--system-prompt", "You are brief.",
               stdin="Hello\nWhat is the capital of France?\n")
    assert talk.returncode == 0 and "Paris" in talk.stdout
    text = run("complete", *url, "--model-name", "pocket", "-q", "The capital of", "--max-tokens", 4)
    assert text.returncode == 0 and text.stdout.strip()
    assert run("chat", "--url", "http://127.0.0.1:1/v1", "-q", "x").returncode == 1
    wrong = run("chat", *url, "--model-name", "gpt-4", "-q", "x")
    assert wrong.returncode == 1 and "gpt-4" in wrong.stderr
