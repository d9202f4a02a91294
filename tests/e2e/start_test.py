"""What a server answers before it is ready: the port is open from the start, /health tells how far
it is, and everything that needs the model says so and when to come back."""
import contextlib
import http.client
import json
import re
import socket
import subprocess
import time

from conftest import BIN, PATIENCE_S, POCKET, clean_environment
from hub_test import NAME, environment, pocket_files  # noqa: F401  (a fixture)
from mirror import Mirror

ASKED = [("POST", "/v1/chat/completions", {"messages": []}), ("POST", "/v1/completions", {}),
         ("POST", "/tokenize", {}), ("GET", "/v1/models", None), ("GET", "/load", None)]


def until_ready(server):
    """What /health says until it is 200, each state once, in order."""
    states, deadline = [], time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.log_text()
        try:
            status, body = server.request("GET", "/health")
        except OSError:
            assert not states, "the port was open, and is not any more"
            continue
        if status == 200:
            return states
        assert status == 503
        state = json.loads(body)["status"]
        if not states or states[-1] != state:
            states.append(state)
        time.sleep(0.01)
    raise AssertionError(server.log_text())


def check_refused(server, state):
    """Every route that needs the model, and those that do not."""
    for method, path, body in ASKED:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        reply = connection.getresponse()
        error = json.loads(reply.read())["error"]
        assert reply.status == 503 and int(reply.getheader("Retry-After")) >= 1, path
        assert error["type"] == "ServiceUnavailableError" and error["code"] == 503
        assert re.search(f"the server is starting: {state}", error["message"]), error
        connection.close()
    for path in ("/version", "/metrics"):
        assert server.request("GET", path)[0] == 200


def wait_state(server, pattern):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.log_text()
        try:
            status, body = server.request("GET", "/health")
        except OSError:
            time.sleep(0.01)
            continue
        assert status == 503, "ready too soon"
        if re.search(pattern, json.loads(body)["status"]):
            return
        time.sleep(0.01)
    raise AssertionError(server.log_text())


def test_health_tells_of_a_download(pocket_files, tmp_path, start):  # noqa: F811
    with Mirror(pocket_files, {"bytes_a_second": 1_000_000, "hub_held": True}) as mirror:
        begin = time.monotonic()
        server = start("m2", ["serve", NAME], env=environment(mirror, tmp_path), ready=False)
        wait_state(server, "reading the model's files")
        check_refused(server, "reading the model's files")
        mirror.faults["hub_held"] = False
        wait_state(server, r"downloading [1-9]\d? %")
        mirror.faults["bytes_a_second"] = 50_000  # all but held, while it is looked at
        check_refused(server, r"downloading \d+ %")
        mirror.faults["bytes_a_second"] = 2_000_000
        states = until_ready(server)
        percents = [int(n) for n in re.findall(r"downloading (\d+) %", " ".join(states))]
        assert len(percents) > 3 and percents == sorted(percents), states
        status, reply = server.post("/v1/completions", {"prompt": "a", "max_tokens": 1})
        assert status == 200, reply
        download = re.search(r"downloaded [\d.]+ MB in ([\d.]+) s, [\d.]+ MB/s", server.log_text())
        print(f"first answer after {time.monotonic() - begin:.2f} s, {download.group()}")
        assert server.log_text().strip().splitlines()[-1].count("ready: ") == 1


def test_health_tells_of_loading_and_capturing(tmp_path, start):
    server = start("m2-echo", [POCKET], env={"M2_ECHO_START_MS": "1500"}, ready=False)
    wait_state(server, "^loading$")
    check_refused(server, "loading")
    wait_state(server, "^capturing$")
    check_refused(server, "capturing")
    assert until_ready(server)[-1] == "capturing"


def test_a_start_can_be_stopped(tmp_path, need_pocket):
    """At once, and nothing is left of its socket."""
    path = tmp_path / "socket"
    process = subprocess.Popen([str(BIN / "m2-echo"), str(POCKET), "--uds", str(path)],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env=clean_environment({"M2_ECHO_START_MS": "60000"}))
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert process.poll() is None and time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                if b'"loading"' in connection.recv(4096):
                    break
            time.sleep(0.01)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1 and "stopped while starting" in said
        assert not path.exists()
    finally:
        process.kill()


def test_a_busy_port_is_told_before_anything_is_asked_of_the_hub(
        pocket_files, tmp_path):  # noqa: F811
    with Mirror(pocket_files) as mirror, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [str(BIN / "m2"), "serve", NAME, "--host", "127.0.0.1", "--port",
             str(taken.getsockname()[1])],
            capture_output=True, text=True, timeout=60, env=environment(mirror, tmp_path))
        assert done.returncode == 1
        assert sum("in use" in line for line in done.stderr.splitlines()) == 1, done.stderr
        assert not mirror.asked

