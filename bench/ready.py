"""Times `m2 serve` from its start to its open port, to "ready" and to the first answer.

Usage: ready.py [--runs 5] [--prefix "chrt -f 20"] [--build build/release] MODEL [flags of m2 serve]
Prints every run and the medians. The files are in the page cache after the first run, which is not
counted.
"""
import argparse
import http.client
import json
import os
import pathlib
import shlex
import socket
import statistics
import subprocess
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, reply.read()


def start_once(command, port):
    """Seconds until the port is open, until /health says 200, and until the first token is there."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    open_s, status = None, 0
    try:
        while status != 200:
            if process.poll() is not None:
                raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}")
            try:
                status, _ = ask(port, "GET", "/health")
                open_s = open_s or time.perf_counter() - begin
            except OSError:
                pass
            time.sleep(0.002)
        ready_s = time.perf_counter() - begin
        status, body = ask(port, "POST", "/v1/completions", json.dumps({"prompt": "The", "max_tokens": 1}))
        if status != 200:
            raise SystemExit(body.decode())
        return open_s, ready_s, time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait()


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--runs", type=int, default=5)
    a.add_argument("--prefix", default="")
    a.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    a.add_argument("model")
    a, flags = a.parse_known_args()
    port = free_port()
    command = [*shlex.split(a.prefix), str(a.build / "bin/m2"), "serve", a.model, "--host", "127.0.0.1",
               "--port", str(port), *flags]
    size = sum(os.path.getsize(file) for file in pathlib.Path(a.model).glob("*.safetensors"))
    rows = []
    for run in range(a.runs + 1):
        row = start_once(command, port)
        print(f"{'warm-up' if run == 0 else run}: port {row[0]:.3f} s, ready {row[1]:.3f} s, first token {row[2]:.3f} s")
        rows.append(row)
    medians = [statistics.median(column) for column in zip(*rows[1:])]
    print(f"medians of {a.runs}, {size / 1e9:.2f} GB: port {medians[0]:.3f} s, ready {medians[1]:.3f} s, "
          f"first token {medians[2]:.3f} s")


if __name__ == "__main__":
    main()
