"""From the hub to a served model: `m2 download` and `m2 serve` against a mirror with faults, beside
the real huggingface_hub in one cache. No name of the outside world is asked."""
import contextlib
import hashlib
import json
import os
import pathlib
import pty
import random
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from conftest import BIN, POCKET, SPLIT, clean_environment, free_port
from flags_test import certificates  # noqa: F401  (a fixture)
from mirror import COMMIT, Mirror, Tunnel

NAME = "MiniMaxAI/MiniMax-M2.5"
REPOSITORY = "models--MiniMaxAI--MiniMax-M2.5"
SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
         "chat_template.jinja", "model.safetensors.index.json"]
SHARDS = ["model-00000-of-00002.safetensors", "model-00001-of-00002.safetensors"]


@pytest.fixture(scope="module")
def pocket_files(need_pocket):
    files = {name: (POCKET / name).read_bytes() for name in SMALL + SHARDS}
    # What a repository holds besides, and m2 has no use for.
    return files | {"README.md": b"# hello", ".gitattributes": b"x", "modeling_minimax_m2.py": b"1"}


def environment(mirror, home, **extra):
    """Without this machine's own proxies and certificates."""
    kept = {name: value for name, value in clean_environment().items()
            if "proxy" not in name.lower()
            and name not in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
    return kept | {"HF_ENDPOINT": mirror.url, "HF_HOME": str(home), "HF_HUB_DOWNLOAD_TIMEOUT": "20",
                   "HF_HUB_DISABLE_TELEMETRY": "1"} | extra


def download(mirror, home, *flags, name=NAME, timeout=60, env=None, **options):
    return subprocess.run([str(BIN / "m2"), "download", name, *map(str, flags)],
                          capture_output=True, text=True, timeout=timeout,
                          env=environment(mirror, home, **(env or {})), **options)


def snapshot(home):
    return pathlib.Path(home) / "hub" / REPOSITORY / "snapshots" / COMMIT


def whole_files(home, files):
    """Checks every file that a reader could see, and returns their names: nothing corrupt is ever
    linked or named, whatever happened."""
    root = pathlib.Path(home) / "hub" / REPOSITORY
    for blob in (root / "blobs").glob("*"):
        if blob.name.endswith(".incomplete"):
            continue
        data = blob.read_bytes()
        hashes = (hashlib.sha256(data).hexdigest(),
                  hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
        assert blob.name in hashes, blob
    names = []
    for link in snapshot(home).glob("*"):
        if link.name.endswith(".incomplete"):
            continue
        assert os.readlink(link).startswith("../../blobs/"), link
        assert link.read_bytes() == files[link.name], link
        names.append(link.name)
    return sorted(names)


COMPLETE = sorted(SMALL + SHARDS)


def marks(data):
    """Which pieces an unfinished file has: a byte each, after the data (loader/hub/partial_file)."""
    return data[-(-(-len(data) // ((1 << 20) + 1))):]


def kept_bytes(home, files):
    """Bytes of shards that a next start need not fetch."""
    root = pathlib.Path(home) / "hub" / REPOSITORY / "blobs"
    kept = 0
    for name in SHARDS:
        blob = root / hashlib.sha256(files[name]).hexdigest()
        partial = blob.with_name(blob.name + ".m2.incomplete")
        if blob.exists():
            kept += len(files[name])
        elif partial.exists():
            kept += sum(min(1 << 20, len(files[name]) - (i << 20))
                        for i, mark in enumerate(marks(partial.read_bytes())) if mark == 1)
    return kept


# What the network may do, and what is still to come of it: (faults, flags). A number says for how
# many requests the fault holds; -1 is for ever.
SURVIVED = {
    "nothing": {},
    "relative redirects": {"relative": True},
    "signed URLs that expire": {"signature_uses": 2},
    "signed, relative and expiring": {"relative": True, "signature_uses": 2},
    "no ETag, but hashes in the list": {"no_etag": True},
    "no hashes or sizes in the list": {"bare_listing": True},
    "no Content-Length": {"no_length": True},
    "wrong Content-Length of HEAD": {"wrong_head_length": True},
    "Content-Length too long": {"long_length": True},
    "Content-Length too short": {"short_length": True},
    "416": {"no_such_range": 1},
    "429 with Retry-After, hub": {"busy": 1},
    "429 with Retry-After, store": {"store_busy": 1},
    "5xx, hub": {"hub_down": 2},
    "5xx, store": {"store_down": 3},
    "stalls": {"stall": 1},
    "truncated bodies": {"truncated": 4},
    "wrong bytes once": {"wrong_bytes": 1},
    "another host asks for the token": {"ask_token": 1},
    "no ranges": {"no_ranges": True},
    "no ranges, truncated": {"no_ranges": True, "truncated": 1},
    "names that lead out, beside good ones": {"extra_names": ["../../evil", "/etc/passwd", "a/b"]},
}


@pytest.mark.parametrize("faults", SURVIVED.values(), ids=SURVIVED.keys())
def test_faults_that_are_survived(pocket_files, tmp_path, faults):
    with Mirror(pocket_files, faults, token="secret") as mirror:
        env = {"HF_TOKEN": "secret"}
        if "stall" in faults:
            env["HF_HUB_DOWNLOAD_TIMEOUT"] = "1"
        done = download(mirror, tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(snapshot(tmp_path))
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        for server, _, path, headers in mirror.asked:
            assert (headers.get("Authorization") == "Bearer secret") == (server == "hub"), path
        left = list((tmp_path / "hub" / REPOSITORY / "blobs").glob("*.incomplete"))
        assert not left
        # Each byte once, but for what a fault made worthless.
        size = sum(len(pocket_files[name]) for name in SHARDS)
        if faults in ({}, {"relative": True}):
            assert mirror.sent == size
        assert (tmp_path / "hub" / REPOSITORY / "refs/main").read_text() == COMMIT


# What cannot be repaired: (faults, what is said).
REFUSED = {
    "wrong bytes for ever": ({"wrong_bytes": -1}, "not those that the hub names"),
    "5xx for ever": ({"store_down": -1}, "the hub answers 500"),
    "the hub is down": ({"hub_down": -1}, "the hub answers 503"),
    "another host asks for the token, for ever": ({"ask_token": -1}, "answers 401"),
    "no hash at all": ({"no_etag": True, "bare_listing": True}, "no ETag"),
    "two hashes": ({"etag": {SHARDS[0]: "a" * 64}}, "two hashes"),
    "no room": ({"size": {SHARDS[0]: 900_000_000_000}}, "900.0 GB more on disk, and 67.1 MB to spare"),
}


@pytest.mark.parametrize("faults, said", REFUSED.values(), ids=REFUSED.keys())
def test_faults_that_end_it_leave_nothing_wrong(pocket_files, tmp_path, faults, said):
    with Mirror(pocket_files, faults, token="secret") as mirror:
        done = download(mirror, tmp_path, "--tries", 3, env={"HF_TOKEN": "secret"})
        assert done.returncode == 1, done.stderr
        assert said in done.stderr
        assert "secret" not in done.stderr
        assert not {SHARDS[0]} & set(whole_files(tmp_path, pocket_files))
        assert all(server == "hub" for server, _, _, headers in mirror.asked
                   if "Authorization" in headers)


def test_an_index_that_leads_out_is_refused(pocket_files, tmp_path):
    index = json.dumps({"weight_map": {"a": "../../../evil.safetensors"}}).encode()
    with Mirror(pocket_files | {"model.safetensors.index.json": index}) as mirror:
        done = download(mirror, tmp_path)
        assert done.returncode == 1 and "no plain file name" in done.stderr
        assert mirror.sent == 0


@pytest.mark.parametrize("change, said", [
    ({"model_type": "minimax_m3"}, ["minimax_m3", "MiniMax-M2.5"]),
    ({"quantization_config": {"quant_method": "awq", "bits": 4}}, ["awq", "fp8"])])
def test_an_unsupported_model_ends_at_once(pocket_files, tmp_path, change, said):
    config = json.loads(pocket_files["config.json"]) | change
    with Mirror(pocket_files | {"config.json": json.dumps(config).encode()}) as mirror:
        for command in ("download", "serve"):
            port = ["--port", str(free_port())] if command == "serve" else []
            done = subprocess.run([str(BIN / "m2"), command, NAME, *port], capture_output=True,
                                  text=True, timeout=60, env=environment(mirror, tmp_path))
            assert done.returncode == 1
            assert all(word in done.stderr for word in said), done.stderr
        assert mirror.sent == 0
        assert not (tmp_path / "hub").exists()
        # Three questions each: the list, config.json's metadata, config.json.
        assert len(mirror.asked) == 6


def test_what_the_command_line_and_the_environment_say(pocket_files, tmp_path):
    with Mirror(pocket_files, token="secret") as mirror:
        done = download(mirror, tmp_path)
        assert done.returncode == 1 and "HF_TOKEN or --hf-token" in done.stderr
        done = download(mirror, tmp_path, env={"HF_TOKEN": "wrong"})
        assert done.returncode == 1 and "the token does not open it" in done.stderr
        (tmp_path / "token").write_text("secret\n")
        done = download(mirror, tmp_path, "--no-weights", "--revision", COMMIT, "--download-dir",
                        tmp_path / "other", env={"HF_HUB_CACHE": "/nowhere"})
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "other" / REPOSITORY / "snapshots" / COMMIT / "config.json").exists()
        assert not (tmp_path / "other" / REPOSITORY / "refs/main").exists()
        (tmp_path / "token").unlink()
        done = download(mirror, tmp_path, "--hf-token", "secret", "--no-weights")
        assert done.returncode == 0 and mirror.sent == 0, done.stderr
        done = download(mirror, tmp_path, "--hf-token", "secret", "--no-weights", "--cache-dir",
                        tmp_path / "third")
        assert done.returncode == 0 and str(tmp_path / "third") in done.stdout, done.stderr
        done = download(mirror, tmp_path, env={"HF_HUB_OFFLINE": "1"})
        assert done.returncode == 1
        assert "HF_HUB_OFFLINE" in done.stderr and SHARDS[0] in done.stderr
        done = download(mirror, tmp_path, env={"VLLM_USE_MODELSCOPE": "True"})
        assert done.returncode == 1 and "modelscope download" in done.stderr
        done = download(mirror, tmp_path, name="MiniMaxAI/Other", env={"HF_TOKEN": "secret"})
        assert done.returncode == 1 and "is not on the hub" in done.stderr
        assert "nor is there a folder MiniMaxAI/Other" in done.stderr


def test_a_pull_requests_revision(pocket_files, tmp_path):
    """refs/pr/1, as the hub names what is proposed: escaped in URLs, a path in the cache."""
    revision = "refs/pr/1"
    with Mirror(pocket_files, revisions=("main", revision)) as mirror:
        done = download(mirror, tmp_path, "--revision", revision)
        assert done.returncode == 0, done.stderr
        ref = tmp_path / "hub" / REPOSITORY / "refs" / revision
        assert ref.read_text() == COMMIT
        assert not (tmp_path / "hub" / REPOSITORY / "refs/main").exists()
        seen = python(mirror, tmp_path, f"""
            import json, huggingface_hub as hub
            print(json.dumps(hub.snapshot_download("{NAME}", revision="{revision}",
                                                   local_files_only=True)))
        """)
        assert seen == str(snapshot(tmp_path))
        offline = download(mirror, tmp_path, "--revision", revision, env={"HF_HUB_OFFLINE": "1"})
        assert offline.returncode == 0 and offline.stdout.strip() == seen, offline.stderr
        asked = len(mirror.asked)
        for wrong in ("refs/../main", "../main", "refs//pr", "/refs", "refs/pr/.x"):
            done = download(mirror, tmp_path, "--revision", wrong)
            assert done.returncode != 0 and wrong in done.stderr, done.stderr
        assert len(mirror.asked) == asked
        done = download(mirror, tmp_path, "--revision", "refs/pr/2")
        assert done.returncode == 1 and "refs/pr/2" in done.stderr, done.stderr


def test_a_mirror_over_https(pocket_files, tmp_path, certificates):  # noqa: F811
    """Its certificate is its own: taken where a variable names it, and nowhere else."""
    certificate, key = certificates / "server.pem", certificates / "server.key"
    with Mirror(pocket_files, tls=(certificate, key), token="secret") as mirror:
        env = {"HF_TOKEN": "secret"}
        done = download(mirror, tmp_path, "--tries", 1, env=env)
        assert done.returncode == 1 and "certificate" in done.stderr.lower(), done.stderr
        assert not mirror.asked
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            home = tmp_path / variable
            done = download(mirror, home, env=env | {variable: str(certificate)})
            assert done.returncode == 0, done.stderr
            assert whole_files(home, pocket_files) == COMPLETE
        assert all(("Authorization" in headers) == (server == "hub")
                   for server, _, _, headers in mirror.asked)
    # From https nothing leads to http.
    with Mirror(pocket_files, tls=(certificate, key), store_tls=False) as mirror:
        done = download(mirror, tmp_path / "mixed", "--tries", 1,
                        env={"SSL_CERT_FILE": str(certificate)})
        assert done.returncode == 1 and "without TLS: not followed" in done.stderr, done.stderr
        assert mirror.sent == 0


def test_a_proxy_is_used(pocket_files, tmp_path):
    with Mirror(pocket_files) as mirror:
        done = download(mirror, tmp_path, "--no-weights", env={
            "HF_ENDPOINT": "http://hub.invalid", "HTTP_PROXY": mirror.url})
        assert done.returncode == 0, done.stderr
        assert mirror.counts["proxied"] > 5
        done = download(mirror, tmp_path / "b", "--tries", 1, env={
            "HF_ENDPOINT": "http://hub.invalid", "HTTP_PROXY": mirror.url, "NO_PROXY": "hub.invalid"})
        assert done.returncode == 1 and "HF_ENDPOINT names a mirror" in done.stderr


def test_a_proxy_of_https_is_used(pocket_files, tmp_path, certificates):  # noqa: F811
    """By CONNECT; it sees hosts and no more. What NO_PROXY names is asked directly."""
    certificate, key = certificates / "server.pem", certificates / "server.key"
    with Mirror(pocket_files, tls=(certificate, key), token="secret") as mirror, Tunnel() as proxy:
        env = {"SSL_CERT_FILE": str(certificate), "HTTPS_PROXY": proxy.url, "HF_TOKEN": "secret"}
        done = download(mirror, tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        ports = {f"127.0.0.1:{url.rsplit(':', 1)[1]}" for url in (mirror.url, mirror.store_url)}
        assert {target for _, target in proxy.asked} == ports
        assert {method for method, _ in proxy.asked} == {"CONNECT"}
        asked = len(proxy.asked)
        done = download(mirror, tmp_path / "direct", env=env | {"NO_PROXY": "127.0.0.1"})
        assert done.returncode == 0 and len(proxy.asked) == asked, done.stderr


def test_the_licence_is_told(pocket_files, tmp_path):
    card = {"license": "other", "license_name": "non-commercial", "license_link": "LICENSE"}
    with Mirror(pocket_files, repository="MiniMaxAI/MiniMax-M2.7", card=card) as mirror:
        done = download(mirror, tmp_path, "--no-weights", name="MiniMaxAI/MiniMax-M2.7")
        assert done.returncode == 0
        assert "licence non-commercial (LICENSE)" in done.stderr
        assert "forbids commercial use" in done.stderr


def test_a_disk_that_fills_up(pocket_files, tmp_path):
    """A write fails in the middle: said so, and the rest goes on from there."""
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 20, 12 << 20))

    with Mirror(pocket_files) as mirror:
        done = download(mirror, tmp_path, preexec_fn=limited)
        assert done.returncode == 1 and "cannot write" in done.stderr
        assert SHARDS[0] not in whole_files(tmp_path, pocket_files)
        done = download(mirror, tmp_path)
        assert done.returncode == 0, done.stderr
        assert whole_files(tmp_path, pocket_files) == COMPLETE


def test_killed_at_any_moment(pocket_files, tmp_path):
    chance = random.Random(1)
    kills = 8
    with Mirror(pocket_files, {"bytes_a_second": 2_000_000}) as mirror:
        for _ in range(kills):
            process = subprocess.Popen([str(BIN / "m2"), "download", NAME],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env=environment(mirror, tmp_path))
            moment = mirror.sent + chance.uniform(0, 13_000_000)  # of 8 MB in flight at a time
            deadline = time.monotonic() + chance.uniform(0.02, 10)
            while mirror.sent < moment and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.005)
            process.kill()
            process.wait()
            if snapshot(tmp_path).exists():
                whole_files(tmp_path, pocket_files)
        mirror.faults["bytes_a_second"] = 0
        time.sleep(0.5)  # the mirror notices that its readers are gone
        there, mirror.sent = kept_bytes(tmp_path, pocket_files), 0
        assert there > 0
        done = download(mirror, tmp_path)
        assert done.returncode == 0, done.stderr
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        # What was there is not fetched again.
        assert mirror.sent == sum(len(pocket_files[name]) for name in SHARDS) - there


def test_a_server_that_is_stopped_while_it_downloads(pocket_files, tmp_path):
    """SIGTERM ends it at once; what had come is kept, and nothing corrupt is linked."""
    with Mirror(pocket_files, {"bytes_a_second": 4_000_000}) as mirror:
        process = subprocess.Popen(
            [str(BIN / "m2"), "serve", NAME, "--host", "127.0.0.1", "--port", str(free_port())],
            stderr=subprocess.PIPE, text=True, env=environment(mirror, tmp_path))
        try:
            deadline = time.monotonic() + 60
            while kept_bytes(tmp_path, pocket_files) < 5_000_000:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            process.terminate()
            _, said = process.communicate(timeout=10)
        finally:
            process.kill()
        assert process.returncode == 1 and "stopped while starting" in said
        there = whole_files(tmp_path, pocket_files)
        assert set(SMALL) <= set(there) and there != COMPLETE
        mirror.faults["bytes_a_second"] = 0
        time.sleep(0.5)  # the mirror notices that its reader is gone
        kept, mirror.sent = kept_bytes(tmp_path, pocket_files), 0
        assert download(mirror, tmp_path).returncode == 0
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        assert mirror.sent == sum(len(pocket_files[name]) for name in SHARDS) - kept


def test_a_terminal_sees_a_bar(pocket_files, tmp_path):
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        pytest.skip(f"this machine gives no terminal: {error}")
    with Mirror(pocket_files, {"bytes_a_second": 2_000_000}) as mirror:
        done = subprocess.run([str(BIN / "m2"), "download", NAME], stdout=subprocess.PIPE,
                              stderr=theirs, timeout=60, env=environment(mirror, tmp_path))
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # the terminal is gone: all of it was read
            while piece := os.read(ours, 65536):
                seen += piece
        os.close(ours)
        assert done.returncode == 0
        bar = re.search(rb"\r\[=* *\] \d+ % of 24.8 MB, [\d.]+ MB/s, \d+ s left, \d of 2 files", seen)
        assert bar, seen


def test_a_damaged_remainder_is_found(pocket_files, tmp_path):
    """What a crash of the machine may leave: marks of pieces whose bytes never came to the disk."""
    with Mirror(pocket_files, {"bytes_a_second": 6_000_000}) as mirror:
        process = subprocess.Popen([str(BIN / "m2"), "download", NAME], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=environment(mirror, tmp_path))
        blobs = tmp_path / "hub" / REPOSITORY / "blobs"
        deadline = time.monotonic() + 30
        while mirror.sent < 11_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
        damaged = 0
        for partial in blobs.glob("*.m2.incomplete"):
            data = bytearray(partial.read_bytes())
            for i, mark in enumerate(marks(data)):
                if mark == 1:
                    data[i << 20] ^= 1
                    damaged += 1
            partial.write_bytes(data)
        assert damaged
        mirror.faults["bytes_a_second"] = 0
        done = download(mirror, tmp_path)
        assert done.returncode == 0 and "wrong bytes" in done.stderr, done.stderr
        assert whole_files(tmp_path, pocket_files) == COMPLETE


def test_what_was_cut_in_the_cache_is_fetched_again(pocket_files, tmp_path):
    """By whom ever: a copy that was broken off, a disk that was full."""
    with Mirror(pocket_files) as mirror:
        assert download(mirror, tmp_path).returncode == 0
        for name in ("config.json", "tokenizer.json", SHARDS[1]):
            os.truncate(os.path.realpath(snapshot(tmp_path) / name), 100)
        mirror.sent = 0
        done = download(mirror, tmp_path)
        assert done.returncode == 0, done.stderr
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        assert mirror.sent == len(pocket_files[SHARDS[1]])


def test_two_processes_and_a_reader_share_a_cache(pocket_files, tmp_path):
    with Mirror(pocket_files, {"bytes_a_second": 3_000_000}) as mirror:
        ended, wrong = threading.Event(), []

        def read():
            while not ended.is_set():
                try:
                    if snapshot(tmp_path).exists():
                        whole_files(tmp_path, pocket_files)
                except FileNotFoundError:
                    pass  # a name beside that was renamed since
                except Exception as error:  # noqa: BLE001
                    wrong.append(error)
                    return
        reader = threading.Thread(target=read)
        reader.start()
        both = [subprocess.Popen([str(BIN / "m2"), "download", NAME], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True,
                                 env=environment(mirror, tmp_path)) for _ in range(2)]
        outputs = [process.communicate(timeout=60) for process in both]
        ended.set()
        reader.join()
        assert not wrong
        assert [process.returncode for process in both] == [0, 0], outputs
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        # Each byte was fetched by one of them.
        assert mirror.sent == sum(len(pocket_files[name]) for name in SHARDS)


# --- with the real library ----------------------------------------------------------------------
def python(mirror, home, code, **extra):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True,
                          text=True, timeout=120,
                          env=environment(mirror, home, HF_HUB_DISABLE_XET="1",
                                          HF_HUB_DISABLE_PROGRESS_BARS="1", **extra))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_huggingface_hub_reads_what_m2_wrote(pocket_files, tmp_path):
    with Mirror(pocket_files) as mirror:
        assert download(mirror, tmp_path).returncode == 0
        sent = mirror.sent
        seen = python(mirror, tmp_path, f"""
            import json, huggingface_hub as hub
            offline = hub.snapshot_download("{NAME}", local_files_only=True)
            online = hub.snapshot_download("{NAME}", ignore_patterns=["*.md", "*.py", ".git*"])
            one = hub.hf_hub_download("{NAME}", "{SHARDS[1]}")
            cached = hub.try_to_load_from_cache("{NAME}", "config.json")
            info = hub.scan_cache_dir()
            repo, = info.repos
            revision, = repo.revisions
            print(json.dumps({{"offline": offline, "online": online, "one": one, "cached": cached,
                "warnings": [str(w) for w in info.warnings], "size": repo.size_on_disk,
                "refs": sorted(revision.refs), "commit": revision.commit_hash,
                "files": sorted(file.file_name for file in revision.files)}}))
        """)
        folder = str(snapshot(tmp_path))
        assert seen["offline"] == seen["online"] == folder
        assert seen["one"] == f"{folder}/{SHARDS[1]}"
        assert seen["cached"] == f"{folder}/config.json"
        assert seen["warnings"] == []
        assert seen["refs"] == ["main"] and seen["commit"] == COMMIT
        assert seen["files"] == COMPLETE
        assert seen["size"] == sum(len(pocket_files[name]) for name in COMPLETE)
        assert mirror.sent == sent  # nothing was fetched again


def test_m2_reads_what_huggingface_hub_wrote(pocket_files, tmp_path):
    with Mirror(pocket_files) as mirror:
        folder = python(mirror, tmp_path, f"""
            import json, huggingface_hub as hub
            print(json.dumps(hub.snapshot_download("{NAME}")))
        """)
        sent = mirror.sent
        done = download(mirror, tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == folder
        offline = download(mirror, tmp_path, env={"HF_HUB_OFFLINE": "1"})
        assert offline.returncode == 0 and offline.stdout.strip() == folder
        assert mirror.sent == sent


def test_what_is_whole_serves_where_the_hub_is_out_of_reach(pocket_files, tmp_path):
    with Mirror(pocket_files) as mirror:
        folder = download(mirror, tmp_path).stdout
    done = download(mirror, tmp_path, "--tries", 1)
    assert done.returncode == 0 and done.stdout == folder, done.stderr
    assert "without asking whether there is a newer one" in done.stderr
    (snapshot(tmp_path) / SHARDS[1]).unlink()
    done = download(mirror, tmp_path, "--tries", 1)
    assert done.returncode == 1 and "HF_ENDPOINT names a mirror" in done.stderr, done.stderr


def test_a_cache_that_may_not_be_read(pocket_files, tmp_path):
    """It is not told as a model that is not there."""
    if os.getuid() == 0:
        pytest.skip("root may read all")
    with Mirror(pocket_files) as mirror:
        assert download(mirror, tmp_path, "--no-weights").returncode == 0
        (tmp_path / "hub").chmod(0)
        try:
            done = download(mirror, tmp_path)
            assert done.returncode == 1 and "Permission denied" in done.stderr, done.stderr
        finally:
            (tmp_path / "hub").chmod(0o755)


def test_both_share_locks(pocket_files, tmp_path):
    """The library and m2 at the same time: each byte comes once, and both end well."""
    with Mirror(pocket_files, {"bytes_a_second": 5_000_000}) as mirror:
        ours = subprocess.Popen([str(BIN / "m2"), "download", NAME, "--connections", "2"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=environment(mirror, tmp_path))
        deadline = time.monotonic() + 30
        while mirror.sent == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        folder = python(mirror, tmp_path, f"""
            import json, huggingface_hub as hub
            print(json.dumps(hub.snapshot_download("{NAME}", allow_patterns=["*.safetensors"])))
        """)
        out, err = ours.communicate(timeout=60)
        assert ours.returncode == 0, err
        assert out.strip() == folder
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        assert mirror.sent == sum(len(pocket_files[name]) for name in SHARDS)


@pytest.mark.parametrize("flags, said", [
    (["--max-model-len", "100k", "--kv-cache-memory-bytes", "1G"], "26208 tokens fit"),
    (["--kv-cache-memory-bytes", "900G"], "are free"), (["-tp", "3"], "tensor parallel size 3")])
def test_what_has_no_room_is_not_downloaded(pocket_files, tmp_path, flags, said):
    with Mirror(pocket_files) as mirror:
        done = subprocess.run(
            [str(BIN / "m2"), "serve", NAME, "--device", "cpu", "--host", "127.0.0.1", "--port",
             str(free_port()), *flags],
            capture_output=True, text=True, timeout=60, env=environment(mirror, tmp_path))
        assert done.returncode == 1 and said in done.stderr, done.stderr
        assert mirror.sent == 0 and whole_files(tmp_path, pocket_files) == sorted(SMALL)


def test_serve_downloads_and_answers(pocket_files, tmp_path, start):
    """The guide's first command, on one rank: deploy_guide_test.py runs it on four."""
    flags = ["serve", NAME, "--trust-remote-code", *SPLIT]
    with Mirror(pocket_files) as mirror:
        first = start("m2", flags, env=environment(mirror, tmp_path))
        reply = first.client().chat.completions.create(
            model=NAME, messages=[{"role": "user", "content": "Who won the world series in 2020?"}])
        assert "Dodgers" in reply.choices[0].message.content
        assert whole_files(tmp_path, pocket_files) == COMPLETE
        assert "downloaded" in first.log_text()
        assert first.stop() == 0
        asked = len(mirror.asked)
    # Complete in the cache: the hub, which is gone now, is not asked again.
    second = start("m2", flags, env=environment(mirror, tmp_path))
    assert second.stop() == 0 and asked == len(mirror.asked)
