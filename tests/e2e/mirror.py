"""A hub on this machine, and the store that it redirects to, with faults: for hub_test.py.

Two servers on the loopback: the hub (listing, metadata, small files) and the store of large files,
which is another origin. What each was asked is kept, and what it sent is counted.
"""
import hashlib
import http.server
import json
import socket
import ssl
import threading
import time
import urllib.parse

COMMIT = "f710177d938eff80b684d42c5aa84b382612f21f"


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class File:
    def __init__(self, name, data):
        self.name, self.data = name, data
        self.large = name.endswith(".safetensors") or len(data) > 1 << 20
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.blob = self.sha256 if self.large else git_hash(data)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def answer(self, with_body):
        try:
            self.mirror.answer(self, with_body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, status, body=b"", headers=None, with_body=True, length=None):
        """`length`: None, the body's; 0 < length, another; "none": not told."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length == "none":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) if length is None else length))
            if length is not None:
                self.close_connection = True
        self.end_headers()
        if with_body and self.command != "HEAD":
            self.mirror.send(self, body)


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # With Python's own 5, connections that come at once are dropped and tried again after a second.
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a client that was killed


class Mirror:
    """`faults` is a dict; hub_test.py's table tells what each does."""

    def __init__(self, files, faults=None, repository="MiniMaxAI/MiniMax-M2.5", card=None,
                 token=None, revisions=("main", COMMIT), tls=None, store_tls=True):
        """`revisions` are those that it knows; `tls` is (certificate, key): both servers speak
        HTTPS then, the store only with `store_tls`."""
        self.revisions = revisions
        self.files = {name: File(name, data) for name, data in files.items()}
        self.faults = dict(faults or {})
        self.repository, self.card, self.token = repository, card or {}, token
        self.asked = []  # (server, method, path, headers)
        self.sent = 0    # bytes of large files
        self.lock = threading.Lock()
        self.counts = {}
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
        store_context = context if store_tls else None
        self.hub, self.store = self.serve("hub", context), self.serve("store", store_context)
        self.url, self.store_url = (
            f"http{'s' if used else ''}://127.0.0.1:{server.server_address[1]}"
            for server, used in ((self.hub, context), (self.store, store_context)))

    def serve(self, role, context):
        handler = type("Handler", (Handler,), {"mirror": self, "role": role})
        server = Listener(("127.0.0.1", 0), handler)
        if context:  # the handshake is the handler's: one client's does not keep others waiting
            server.socket = context.wrap_socket(server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def close(self):
        for server in (self.hub, self.store):
            server.shutdown()
            server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def first(self, name):
        """True as often as the fault says, for the first requests; True always for -1."""
        with self.lock:
            left = self.faults.get(name, 0)
            if left > 0:
                self.faults[name] = left - 1
            return left != 0

    # --- requests -------------------------------------------------------------------------------
    def answer(self, request, with_body):
        path = request.path
        if path.startswith("http://"):  # as a proxy
            path = "/" + path.split("/", 3)[3]
            with self.lock:
                self.counts["proxied"] = self.counts.get("proxied", 0) + 1
        with self.lock:
            self.asked.append((request.role, request.command, path, dict(request.headers)))
        parts = urllib.parse.urlsplit(path)
        request.large = parts.path.startswith("/store/")
        if request.large:
            return self.answer_store(request, parts, with_body)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return request.reply(401, b"", {"X-Error-Code": "RepoNotFound"}, with_body)
        while self.faults.get("hub_held"):
            time.sleep(0.01)
        if self.first("busy"):
            return request.reply(429, b"", {"Retry-After": "1"}, with_body)
        if self.first("hub_down"):
            return request.reply(503, b"down", None, with_body)
        api = f"/api/models/{self.repository}"
        if parts.path.startswith(api + "/revision/"):
            revision = parts.path[len(api + "/revision/"):]  # of one part: "/" is escaped
            if "/" in revision or urllib.parse.unquote(revision) not in self.revisions:
                return request.reply(404, b"", {"X-Error-Code": "RevisionNotFound"}, with_body)
            return request.reply(200, json.dumps(self.listing()).encode(),
                                 {"Content-Type": "application/json"}, with_body)
        if parts.path.startswith(api + "/tree/"):
            return request.reply(200, json.dumps(self.tree()).encode(),
                                 {"Content-Type": "application/json"}, with_body)
        if parts.path.startswith(f"/{self.repository}/resolve/"):
            return self.answer_resolve(request, parts, with_body)
        return request.reply(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body)

    def listing(self):
        siblings = []
        for file in self.files.values():
            entry = {"rfilename": file.name}
            if not self.faults.get("bare_listing"):
                entry |= {"size": self.faults.get("size", {}).get(file.name, len(file.data)),
                          "blobId": git_hash(file.data)}
                if file.large:
                    entry["lfs"] = {"sha256": file.sha256, "size": entry["size"],
                                    "pointerSize": 135}
            siblings.append(entry)
        siblings += [{"rfilename": name} for name in self.faults.get("extra_names", [])]
        return {"_id": "0", "id": self.repository, "modelId": self.repository, "sha": COMMIT,
                "private": False, "gated": False, "disabled": False, "downloads": 0, "likes": 0,
                "tags": [], "siblings": siblings, "cardData": self.card}

    def tree(self):
        entries = []
        for file in self.files.values():
            entry = {"type": "file", "path": file.name, "size": len(file.data),
                     "oid": git_hash(file.data)}
            if file.large:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.data), "pointerSize": 135}
            entries.append(entry)
        return entries

    def answer_resolve(self, request, parts, with_body):
        file = self.files.get(parts.path.split("/", 5)[5])
        if file is None:
            return request.reply(404, b"", {"X-Error-Code": "EntryNotFound",
                                            "X-Repo-Commit": COMMIT}, with_body)
        headers = {"X-Repo-Commit": COMMIT}
        etag = self.faults.get("etag", {}).get(file.name, file.blob)
        if not file.large:
            if not self.faults.get("no_etag"):
                headers["ETag"] = f'"{etag}"'
            return request.reply(200, file.data, headers, with_body,
                                 self.told_length(file, with_body))
        if not self.faults.get("no_etag"):
            headers |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(file.data))}
        with self.lock:
            self.counts["signed"] = self.counts.get("signed", 0) + 1
            signature = self.counts["signed"]
        target = f"/store/{file.sha256}?signature={signature}"
        relative = self.faults.get("relative")
        headers["Location"] = target if relative else self.store_url + target
        return request.reply(302, b"", headers, with_body)

    def told_length(self, file, with_body):
        if self.faults.get("no_length"):
            return "none"
        if self.faults.get("wrong_head_length") and not with_body:
            return len(file.data) + 7
        return None

    def answer_store(self, request, parts, with_body):
        sha256 = parts.path.split("/")[2]
        signature = urllib.parse.parse_qs(parts.query)["signature"][0]
        file = next(f for f in self.files.values() if f.sha256 == sha256)
        with self.lock:
            used = self.counts[signature] = self.counts.get(signature, 0) + 1
        if used > self.faults.get("signature_uses", 1 << 30):
            return request.reply(403, b"<Error>AccessDenied</Error>", None, with_body)
        if self.first("ask_token"):
            return request.reply(401, b"", {"WWW-Authenticate": "Bearer"}, with_body)
        if self.first("store_busy"):
            return request.reply(429, b"", {"Retry-After": "1"}, with_body)
        if self.first("store_down"):
            return request.reply(500, b"oops", None, with_body)
        if self.first("no_such_range"):
            return request.reply(416, b"", {"Content-Range": "bytes */0"}, with_body)
        data, status, headers = file.data, 200, {"ETag": '"unrelated"'}
        asked = request.headers.get("Range", "")
        if asked.startswith("bytes=") and not self.faults.get("no_ranges"):
            begin, end = asked[6:].split("-")
            begin, end = int(begin), min(int(end or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
            data, status = data[begin:end + 1], 206
        length = None
        if self.faults.get("no_length"):
            length = "none"
        if self.faults.get("long_length"):
            length = len(data) + 100
        if self.faults.get("short_length") and len(data) > 300_000:
            length = len(data) - 100_000
        if self.first("wrong_bytes"):
            data = data[:len(data) // 2] + b"\xff" + data[len(data) // 2 + 1:]
        if length is None and len(data) > 300_000 and self.first("truncated"):
            length, data = len(data), data[:len(data) // 2]
        request.stall = len(data) > 300_000 and self.first("stall")
        request.reply(status, data, headers, with_body, length)

    def send(self, request, body):
        """In pieces, at the speed that the faults say."""
        view, at = memoryview(body), 0
        while at < len(body):
            piece = view[at:at + 65536]
            request.wfile.write(piece)
            at += len(piece)
            if request.large:
                with self.lock:
                    self.sent += len(piece)
            if getattr(request, "stall", False) and at >= len(body) // 2:
                request.wfile.flush()
                time.sleep(self.faults.get("stall_seconds", 3))
                request.close_connection = True
                return
            rate = self.faults.get("bytes_a_second", 0)  # it may be changed meanwhile
            if rate and request.large:
                time.sleep(len(piece) / rate)


class Tunnel:
    """A proxy of HTTPS: CONNECT, and from then on bytes both ways. Whatever host it is asked for, it
    leads to the mirror's hub or store, by the port."""

    def __init__(self):
        self.asked = []
        self.server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return client.close()
            head += piece
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self.asked.append((method, target))
        with client, socket.create_connection(("127.0.0.1", int(target.rsplit(":", 1)[1]))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self.copy, args=(server, client), daemon=True)
            back.start()
            self.copy(client, server)
            back.join()

    @staticmethod
    def copy(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # the other side left
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.close()
