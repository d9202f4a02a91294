"""Starts the real programs for the end-to-end tests and talks to them through real sockets."""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("M2_BIN", ROOT / "build/release/bin"))
# More flags of each server with the pocket: several share a GPU only with a small KV cache each.
MORE_FLAGS = os.environ.get("M2_E2E_FLAGS", "").split()
POCKET = ROOT / "models/pocket"
GUIDE_FLAGS = ["--trust-remote-code", "--enable-auto-tool-choice",
               "--tool-call-parser", "minimax_m2"]
APPEND_THINK = GUIDE_FLAGS + ["--reasoning-parser", "minimax_m2_append_think"]
SPLIT = GUIDE_FLAGS + ["--reasoning-parser", "minimax_m2"]
PATIENCE_S = 120  # for what must happen at some time; no test measures how fast


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(extra=None):
    """Without variables that would change what the programs do."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("VLLM_", "M2_", "HF_"))}
    return kept | (extra or {})


class Server:
    """One running program. Its log is kept, and shown by pytest when a test fails."""

    def __init__(self, program, arguments, log, env=None):
        self.port = free_port()
        self.log = log
        command = [BIN / program, *arguments, "--host", "127.0.0.1", "--port", str(self.port)]
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, env=clean_environment(env))

    def wait_ready(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended early:\n{self.log_text()}"
            try:
                if self.request("GET", "/health")[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready:\n{self.log_text()}")

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body, {"Content-Type": "application/json"} | (headers or {}))
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, data

    def post(self, path, body):
        status, data = self.request("POST", path, body)
        return status, json.loads(data)

    def client(self, api_key="none"):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=api_key,
                             max_retries=0, timeout=PATIENCE_S)

    def log_text(self):
        return pathlib.Path(self.log).read_text(errors="replace")

    def metric(self, name):
        """The sum over a metric's label sets; None when it is absent."""
        _, data = self.request("GET", "/metrics")
        values = [float(line.rsplit(" ", 1)[1]) for line in data.decode().splitlines()
                  if line.startswith((name + "{", name + " "))]
        return sum(values) if values else None

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        return self.process.returncode


@pytest.fixture(scope="session")
def need_pocket():
    if not (POCKET / "config.json").exists():
        pytest.skip("models/pocket is not in this checkout")


@pytest.fixture
def start(tmp_path, need_pocket):
    """Starts programs of one test: start("m2", ["serve", …]); they are stopped at its end."""
    running = []

    def start_one(program, arguments, env=None, ready=True):
        server = Server(program, arguments, tmp_path / f"log{len(running)}", env)
        running.append(server)
        return server.wait_ready() if ready else server

    yield start_one
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def session_server(program, arguments):
    @pytest.fixture(scope="session")
    def server(tmp_path_factory, need_pocket):
        running = Server(program, arguments, tmp_path_factory.mktemp(program) / "log")
        yield running.wait_ready()
        assert running.stop() == 0, running.log_text()

    return server


def serve_pocket(flags):
    return ["serve", POCKET, "--served-model-name", "MiniMaxAI/MiniMax-M2.5", "pocket", *MORE_FLAGS, *flags]


# The server of `make serve`; the same with reasoning split off; and the ones without a model.
pocket = session_server("m2", serve_pocket(APPEND_THINK))
pocket_split = session_server("m2", serve_pocket(SPLIT))
echo = session_server("m2-echo", [POCKET, "--served-model-name", "echo", *SPLIT])
echo_append = session_server("m2-echo", [POCKET, "--served-model-name", "echo", *APPEND_THINK])
