"""Memory stays flat: thousands of small requests of every kind over many connections, and the
slope of the server's resident memory over them. `python soak_test.py 20000` runs it by itself."""
import json
import os
import pathlib
import socket
import sys
import threading

from conftest import POCKET, SPLIT, Server

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "20000"))
CONNECTIONS = 16
BATCH = 1000
WARM = 0.4  # of the batches are not looked at: pools, caches and the heap grow to their size
# A leak of one small object a request (64 bytes and the heap's own 16) is 78 KB a thousand.
MOST_KB_A_THOUSAND = 48.0

FLAGS = ["--num-gpu-blocks-override", "512", "--max-model-len", "2048", "--max-num-seqs", "32",
         "--disable-log-stats", "--uvicorn-log-level", "error"]


def request_bytes(number):
    """One of the kinds by turns; the numbers make each prompt another one."""
    kind = number % 20
    body = {"model": "echo", "max_tokens": 32, "messages": [
        {"role": "user", "content": f"Request {number}. reply:a thought</think>answer {number}"}]}
    if kind % 3 == 1:
        body["stream"] = True
    if kind == 5:
        body["n"] = 3
    elif kind == 6:
        body["stop"] = ["wer"]
    elif kind == 8:
        body["logprobs"], body["top_logprobs"] = True, 2
    elif kind == 9:
        body["temperature"] = 9  # 400
    elif kind == 11:
        body["tools"] = [{"type": "function", "function": {
            "name": f"tool_{number}", "parameters": {"type": "object", "properties": {
                "x": {"type": "integer"}}}}}]
        body["messages"][0]["content"] = (
            f'reply:</think><minimax:tool_call>\n<invoke name="tool_{number}">\n'
            '<parameter name="x">1</parameter>\n</invoke>\n</minimax:tool_call>')
    elif kind == 12:
        body["model"] = "another"  # 404
    elif kind == 15:
        body["cache_salt"] = f"salt {number}"
    data = json.dumps(body).encode()
    head = ("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n")
    return head.encode() + data


class Connection:
    """A keep-alive connection that reads just enough of a reply to find its end."""

    def __init__(self, port):
        self.address = ("127.0.0.1", port)
        self.socket = socket.create_connection(self.address)

    def ask(self, data):
        self.socket.sendall(data)
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += self.more()
        head, _, body = reply.partition(b"\r\n\r\n")
        if b"chunked" in head:
            while not body.endswith(b"\r\n0\r\n\r\n"):
                body += self.more()
            assert b"[DONE]" in body
        else:
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += self.more()
        return int(head.split(b" ", 2)[1])

    def more(self):
        data = self.socket.recv(65536)
        assert data, "the server hung up"
        return data

    def ask_and_leave(self, data):
        """A client that goes away while its reply is made."""
        self.socket.sendall(data)
        self.socket.close()
        self.socket = socket.create_connection(self.address)


def run_batch(connections, first, count):
    numbers = iter(range(first, first + count))
    lock = threading.Lock()
    statuses, faults = {}, []

    def work(connection):
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                data = request_bytes(number)
                if number % 40 == 7:
                    connection.ask_and_leave(data)
                    continue
                status = connection.ask(data)
                with lock:
                    statuses[status] = statuses.get(status, 0) + 1
        except Exception as fault:  # noqa: BLE001  told to the main thread
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return statuses


def resident_kb(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def slope(values):
    """Least squares; values are one a thousand requests."""
    middle = (len(values) - 1) / 2
    mean = sum(values) / len(values)
    above = sum((i - middle) * (value - mean) for i, value in enumerate(values))
    return above / sum((i - middle) ** 2 for i in range(len(values)))


def soak(server, requests):
    connections = [Connection(server.port) for _ in range(CONNECTIONS)]
    resident, statuses = [], {}
    for first in range(0, requests, BATCH):
        for status, count in run_batch(connections, first, BATCH).items():
            statuses[status] = statuses.get(status, 0) + count
        resident.append(resident_kb(server.process))
    measured = resident[int(len(resident) * WARM):]
    kb = slope(measured)
    print(f"soak: {requests} requests {statuses}, resident {resident[0]} to {resident[-1]} KB, "
          f"slope {kb:.1f} KB per 1,000 requests over the last {len(measured) * BATCH}")
    return kb, statuses


def test_memory_stays_flat(start, capsys):
    server = start("m2-echo", [POCKET, "--served-model-name", "echo", *SPLIT, *FLAGS])
    with capsys.disabled():  # the slope is for people, whether it passes or not
        print()
        kb, statuses = soak(server, REQUESTS)
    assert set(statuses) == {200, 400, 404}
    assert kb < MOST_KB_A_THOUSAND
    assert server.metric("vllm:kv_cache_usage_perc") == 0
    assert server.metric("vllm:num_requests_running") == 0


if __name__ == "__main__":
    alone = Server("m2-echo", [POCKET, "--served-model-name", "echo", *SPLIT, *FLAGS],
                   "/dev/null").wait_ready()
    try:
        soak(alone, int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS)
    finally:
        alone.stop()
