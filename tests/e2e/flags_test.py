"""Flags of `m2 serve` that shape the engine and the server, seen from outside: each server here is
started with several at once, and what each changes is looked at through its socket."""
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import BIN, POCKET, SPLIT, clean_environment, free_port, serve_pocket

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def echo(*flags):
    return [POCKET, "--served-model-name", "echo", *SPLIT, *flags]


def say(server, text, **options):
    """One echoed reply, as JSON."""
    status, reply = server.post("/v1/chat/completions", {
        "model": "echo", "messages": [{"role": "user", "content": "reply:</think>" + text}],
        **options})
    assert status == 200, reply
    return reply


def max_model_len(server):
    return json.loads(server.request("GET", "/v1/models")[1])["data"][0]["max_model_len"]


def cache_config(server):
    """The labels of vllm:cache_config_info."""
    text = server.request("GET", "/metrics")[1].decode()
    line = next(line for line in text.splitlines() if line.startswith("vllm:cache_config_info{"))
    pairs = line[line.index("{") + 1:line.rindex("}")].split(",")
    return {name: value.strip('"') for name, value in (pair.split("=", 1) for pair in pairs)}


def refused(*words):
    """What `m2 serve` says to flags that it does not take."""
    done = subprocess.run([str(BIN / "m2"), "serve", *map(str, words), "--port", str(free_port())],
                          capture_output=True, text=True, timeout=60, env=clean_environment())
    assert done.returncode in (1, 2), done.stderr
    return done.stderr


def test_names_keys_prefix_and_origins(start):
    server = start("m2-echo", echo(
        "--served-model-name", "first", "second", "--api-key", "one", "two", "--api-key", "three",
        "--root-path", "/proxy", "--allowed-origins", '["https://a.example"]',
        "--allowed-methods", '["POST"]', "--enable-request-id-headers"))
    for key in ("one", "two", "three"):
        assert [model.id for model in server.client(key).models.list()] == ["first", "second"]
    assert server.request("GET", "/v1/models", headers={"Authorization": "Bearer four"})[0] == 401
    key = {"Authorization": "Bearer two"}
    for path in ("/proxy/v1/models", "/v1/models"):
        assert server.request("GET", path, headers=key)[0] == 200
    for origin, status in (("https://a.example", 204), ("https://b.example", 403)):
        assert server.request("OPTIONS", "/v1/chat/completions", headers={
            "Origin": origin, "Access-Control-Request-Method": "POST"})[0] == status
    for name in ("first", "second"):
        reply = server.client("one").chat.completions.create(
            model=name, messages=[{"role": "user", "content": "reply:</think>hello"}])
        assert reply.choices[0].message.content == "hello" and reply.model == name


def test_sizes_of_the_engine(start):
    server = start("m2-echo", echo(
        "--max-model-len", "8k", "--block-size", "32", "--num-gpu-blocks-override", "512",
        "--max-num-seqs", "4", "--max-num-batched-tokens", "64", "--max-logprobs", "3",
        "--long-prefill-token-threshold", "48", "--stream-interval", "4", "--enable-chunked-prefill",
        "--enable-prefix-caching", "--disable-log-stats"), env={"VLLM_LOG_STATS_INTERVAL": "0.1"})
    assert max_model_len(server) == 8000
    assert cache_config(server)["block_size"] == "32"
    assert cache_config(server)["num_gpu_blocks"] == "512"
    text = "one two three four five six seven eight nine ten " * 4
    assert say(server, text)["choices"][0]["message"]["content"] == text
    status, error = server.post("/v1/chat/completions", {
        "model": "echo", "messages": QUESTION, "logprobs": True, "top_logprobs": 4})
    assert status == 400 and "3" in error["error"]["message"]
    # A chunk of the stream is four tokens, but for the first and the last.
    chunks = list(server.client().chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "reply:</think>" + text}], stream=True,
        stream_options={"include_usage": True}))
    tokens = chunks[-1].usage.completion_tokens
    pieces = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(piece.choices[0].delta.content for piece in pieces) == text
    assert tokens / 5 < len(pieces) <= tokens / 4 + 2
    assert "tokens/s" not in server.log_text()
    too_long = {"model": "echo", "messages": [{"role": "user", "content": "word " * 9000}]}
    assert server.post("/v1/chat/completions", too_long)[0] == 400


@pytest.mark.parametrize("caching", [True, False])
def test_the_prefix_cache_is_seen_in_usage_and_metrics(start, caching):
    server = start("m2-echo", echo("--block-size", "16", *(
        [] if caching else ["--no-enable-prefix-caching"])), env={"VLLM_LOG_STATS_INTERVAL": "0.2"})
    talk = [{"role": "user", "content": "A long question, of many words. " * 30 + "reply:</think>a"}]
    for _ in range(3):
        status, reply = server.post("/v1/chat/completions", {"model": "echo", "messages": talk})
        assert status == 200
        talk += [reply["choices"][0]["message"],
                 {"role": "user", "content": "And then? reply:</think>b"}]
    usage = reply["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    hits = server.metric("vllm:prefix_cache_hits_total")
    queries = server.metric("vllm:prefix_cache_queries_total")
    if not caching:
        assert (cached, hits, queries) == (0, 0, 0)
        return
    hit_rate = re.compile(r"prefix cache ([0-9.]+) % hits")
    deadline = time.monotonic() + 60
    while not any(float(rate) > 0 for rate in hit_rate.findall(server.log_text())):
        assert time.monotonic() < deadline, server.log_text()
        time.sleep(0.05)
    # All of the last turn but its question, which is short, and a partial block.
    assert usage["prompt_tokens"] - cached < 16 + 40
    assert 0 < hits < queries
    # The choices of one request share its prompt, whoever is first.
    before = server.metric("vllm:prefix_cache_hits_total")
    server.post("/v1/chat/completions", {"model": "echo", "n": 4, "messages": [
        {"role": "user", "content": "Something else, at some length. " * 30 + "reply:</think>c"}]})
    assert server.metric("vllm:prefix_cache_hits_total") - before > 3 * 150
    # A salt sees only its own.
    salted = {"model": "echo", "messages": talk[:1], "cache_salt": "mine"}
    cold = server.post("/v1/chat/completions", salted)[1]["usage"]
    warm = server.post("/v1/chat/completions", salted)[1]["usage"]
    assert cold["prompt_tokens_details"]["cached_tokens"] == 0
    assert warm["prompt_tokens_details"]["cached_tokens"] > 150


def test_priorities(start):
    """One slot, held by a long reply; of those that wait the urgent one is served first."""
    server = start("m2-echo", echo("--scheduling-policy", "priority", "--max-num-seqs", "1"))
    ended = []

    def ask(name, priority, words):
        say(server, "word " * words, priority=priority)
        ended.append(name)

    threads = []
    for name, priority, words in (("batch", 9, 3000), ("later", 5, 200), ("urgent", -5, 200)):
        threads.append(threading.Thread(target=ask, args=(name, priority, words)))
        threads[-1].start()
        waits = len(threads)
        deadline = time.monotonic() + 60
        while (server.metric("vllm:num_requests_running") + server.metric(
                "vllm:num_requests_waiting") < waits and not ended):
            assert time.monotonic() < deadline
    for thread in threads:
        thread.join()
    assert ended[-1] == "batch" or ended[0] == "batch"  # over before the others came: says nothing
    if ended[0] != "batch":
        assert ended.index("urgent") < ended.index("batch")


@pytest.mark.parametrize("shared", [True, False])
def test_keys_share(start, shared):
    """One key has forty long replies in two slots; another's short one does not wait for them."""
    server = start("m2-echo", echo(
        "--api-key", "busy", "other", "--max-num-seqs", "2",
        *([] if shared else ["--no-share-by-key"])),
        # Slow steps: the forty come before the first few have ended, however busy the machine is.
        env={"M2_ECHO_STEP_US": "500"})
    ended = []

    def ask(key, words):
        body = {"model": "echo", "messages": [
            {"role": "user", "content": "reply:</think>" + "word " * words}]}
        status, _ = server.request("POST", "/v1/chat/completions", body,
                                   {"Authorization": f"Bearer {key}"})
        assert status == 200
        ended.append(key)

    threads = [threading.Thread(target=ask, args=("busy", 100)) for _ in range(40)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while server.metric("vllm:num_requests_waiting") < 30:
        assert time.monotonic() < deadline and len(ended) < 10
    before = len(ended)
    ask("other", 5)
    others = ended.index("other") - before
    for thread in threads:
        thread.join()
    if shared:
        assert others < 15
    else:
        assert others > 25, "in order of arrival it waits for all that came before"


def test_priorities_need_their_policy(echo):
    status, error = echo.post("/v1/chat/completions", {
        "model": "echo", "messages": QUESTION, "priority": 1})
    assert status == 400 and "scheduling-policy" in error["error"]["message"]


def test_template_flags(start, tmp_path):
    template = tmp_path / "own.jinja"
    template.write_text("{{ greeting }}|{% for m in messages %}{{ m.content }}|{% endfor %}")
    server = start("m2-echo", echo("--chat-template", template, "--default-chat-template-kwargs",
                                   '{"greeting": "hello there"}'))

    def prompt(**fields):
        tokens = server.post("/tokenize", {"messages": QUESTION, **fields})[1]["tokens"]
        return server.post("/detokenize", {"tokens": tokens})[1]["prompt"]

    assert prompt() == "hello there|What is the capital of France?|"
    assert prompt(chat_template_kwargs={"greeting": "you"}).startswith("you|")


def test_sampling_flags_and_memory(start):
    """The real model: greedy by default through an override, a context cut by its KV memory."""
    server = start("m2", serve_pocket([
        *SPLIT, "--override-generation-config", '{"temperature": 0, "max_new_tokens": 12}',
        "--kv-cache-memory-bytes", "64M", "--max-model-len", "auto", "--max-num-seqs", "8",
        "--max-num-batched-tokens", "128", "--kv-cache-dtype", "auto", "--seed", "3"]))
    ask = {"model": "pocket", "messages": QUESTION}
    replies = [server.post("/v1/chat/completions", ask)[1] for _ in range(2)]
    assert replies[0]["choices"][0]["message"] == replies[1]["choices"][0]["message"]
    assert replies[0]["usage"]["completion_tokens"] == 12
    # 5 layers x 8 heads x 128 x key and value x 4 bytes = 40 KiB a token.
    assert max_model_len(server) == 64 * 1024 // 40 // 16 * 16
    assert "temperature 0" in server.log_text()


def test_narrow_kv_and_overridden_config(start, tmp_path):
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.5, "top_k": 7}')
    server = start("m2", serve_pocket([
        *SPLIT, "--kv-cache-dtype", "fp8", "--hf-overrides", '{"max_position_embeddings": 4096}',
        "--hf-overrides.spelt_wrong", "1", "--max-model-len=-1", "--generation-config", tmp_path,
        "--kv-cache-memory-bytes", "128M"]))
    assert max_model_len(server) == 4096
    log = server.log_text()
    assert "spelt_wrong" in log and "max_position_embeddings 4096" not in log
    assert "10240 bytes each" in log  # a quarter of 40 KiB
    assert "temperature 0.5" in log and "top_k 7" in log
    reply = server.post("/v1/chat/completions", {
        "model": "pocket", "messages": QUESTION, "temperature": 0, "max_tokens": 200})[1]
    assert "Paris" in reply["choices"][0]["message"]["content"]


def test_a_seed_makes_a_start_repeatable(start):
    def texts(*flags):
        server = start("m2", serve_pocket([
            *SPLIT, "--generation-config", "vllm", "--max-model-len", "1k",
            "--kv-cache-memory-bytes", "64M", *flags]))
        found = [server.post("/v1/completions", {"model": "pocket", "prompt": "The", "max_tokens": 24,
                                                 "temperature": 1.5})[1]["choices"][0]["text"]
                 for _ in range(2)]
        server.stop()
        return found

    first, again, other = texts("--seed", "1"), texts("--seed", "1"), texts("--seed", "2")
    assert first == again != other
    assert first[0] != first[1], "each request draws for itself"


def test_a_config_file(start, tmp_path):
    config = tmp_path / "m2.yaml"
    config.write_text("served-model-name: [from-file, other]\nmax_model_len: 4k\nblock-size: 8\n"
                      "enable-prefix-caching: false\n")
    server = start("m2-echo", [POCKET, *SPLIT, "--config", config, "--block-size", "64"])
    models = json.loads(server.request("GET", "/v1/models")[1])["data"]
    assert [model["id"] for model in models] == ["from-file", "other"]
    assert models[0]["max_model_len"] == 4000
    assert cache_config(server)["block_size"] == "64", "the command line wins"


def run_without_port(tmp_path, arguments):
    log = tmp_path / "log"
    with open(log, "wb") as out:
        return subprocess.Popen([str(BIN / "m2-echo"), *map(str, arguments)], stdout=out, stderr=out,
                                env=clean_environment()), log


def wait_ready(connect, process, log):
    """Until /health says 200; stopped before that, a server says that it was still starting."""
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            if get_health(connect()).startswith(b"HTTP/1.1 200"):
                return
        except OSError:
            pass
        time.sleep(0.05)


def get_health(connection):
    with connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        reply = b""
        while data := connection.recv(4096):
            reply += data
        return reply


def test_a_unix_socket(tmp_path, need_pocket):
    path = tmp_path / "socket"
    process, log = run_without_port(tmp_path, echo("--uds", path))

    def connect():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return connection

    try:
        wait_ready(connect, process, log)
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert not path.exists(), "it tidies up"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A pair that has signed itself, for the server and for one client."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command to make certificates with")
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True,
                       capture_output=True, timeout=60)
    return folder


def test_tls_and_certificates_of_clients(tmp_path, need_pocket, certificates):
    port = free_port()
    process, log = run_without_port(tmp_path, echo(
        "--host", "127.0.0.1", "--port", port, "--ssl-certfile", certificates / "server.pem",
        "--ssl-keyfile", certificates / "server.key", "--ssl-ca-certs", certificates / "client.pem",
        "--ssl-cert-reqs", "2", "--ssl-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"))

    def tls(*, certificate=True, cipher=None):
        context = ssl.create_default_context(cafile=certificates / "server.pem")
        if certificate:
            context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        if cipher:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(cipher)
        return context.wrap_socket(socket.create_connection(("127.0.0.1", port)),
                                   server_hostname="127.0.0.1")

    try:
        wait_ready(tls, process, log)
        assert get_health(tls(cipher="ECDHE-ECDSA-AES256-GCM-SHA384")).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):
            tls(cipher="ECDHE-ECDSA-AES128-GCM-SHA256")
        try:
            answer = get_health(tls(certificate=False))  # TLS 1.3 tells of it on the first read
        except OSError:
            answer = b""
        assert answer == b""
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize("flags, said", [
    (["--max-model-len", "200k"], "196608"),
    (["--max-model-len", "100k", "--kv-cache-memory-bytes", "1G"], "26208 tokens fit"),
    (["--kv-cache-memory-bytes", "1G"], "at most 26208 tokens fit; --max-model-len auto"),
    (["--kv-cache-memory-bytes", "2k"], "0 blocks"),
    (["--kv-cache-dtype", "int4"], "fp8"),
    (["--kv-cache-dtype", "fp8_e5m2"], "fp8"),
    (["--block-size", "24"], "power of two"),
    (["--max-num-seqs", "64", "--max-num-batched-tokens", "32"], "max-num-seqs"),
    (["--scheduling-policy", "lifo"], "fcfs"),
    (["--stream-interval", "0"], "stream-interval"),
    (["--long-prefill-token-threshold=-1"], "long-prefill-token-threshold"),
    (["--generation-config", "/nowhere"], "/nowhere"),
    (["--override-generation-config", '{"temperature": -1}'], "temperature"),
    (["--hf-overrides", '{"num_attention_heads": 0}'], "num_attention_heads"),
    (["--hf-overrides", '{"model_type": "llama"}'], "llama"),
    (["--hf-overrides", "[1]"], "JSON object"),
    (["--default-chat-template-kwargs", "x"], "JSON"),
    (["--chat-template", "/nowhere.jinja"], "/nowhere.jinja"),
    (["--config", "/nowhere.yaml"], "/nowhere.yaml"),
    (["--ssl-keyfile", "/nowhere.key"], "--ssl-certfile"),
    (["--ssl-cert-reqs", "2"], "--ssl-ca-certs"),
    (["--ssl-certfile", "/nowhere.pem", "--ssl-keyfile", "/nowhere.key"], "/nowhere.pem"),
    (["--uds", "/nowhere/at/all/socket"], "/nowhere/at/all/socket"),
    (["--shutdown-timeout=-1"], "shutdown-timeout"),
    (["--max-logprobs=-2"], "max-logprobs"),
    (["--seed=-1"], "seed"),
])
def test_what_is_refused_says_why(need_pocket, flags, said):
    assert said in refused(POCKET, "--host", "127.0.0.1", *flags)
