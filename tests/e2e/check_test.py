"""`m2 check` and `m2 plan`: on the pocket, and on the whole of the published model's headers with
nothing behind them (sparse files)."""
import json
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

import pytest

from conftest import BIN, POCKET, clean_environment
from hub_test import NAME, SHARDS, download, pocket_files, snapshot  # noqa: F401
from mirror import Mirror

BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1}
LAYERS, EXPERTS, FILES = 62, 256, 125


def m2(*words, env=None):
    return subprocess.run([str(BIN / "m2"), *map(str, words)], capture_output=True, text=True,
                          timeout=120, env=clean_environment(env))


def published_tensors():
    """Name, type and shape of all 96,103 tensors, in the order of the files."""
    yield "model.embed_tokens.weight", "BF16", [200064, 3072]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."

        def quantised(name, rows, columns):
            yield at + name + ".weight", "F8_E4M3", [rows, columns]
            yield at + name + ".weight_scale_inv", "F32", [rows // 128, columns // 128]

        yield from quantised("self_attn.q_proj", 6144, 3072)
        yield from quantised("self_attn.k_proj", 1024, 3072)
        yield from quantised("self_attn.v_proj", 1024, 3072)
        yield from quantised("self_attn.o_proj", 3072, 6144)
        yield at + "self_attn.q_norm.weight", "BF16", [6144]
        yield at + "self_attn.k_norm.weight", "BF16", [1024]
        yield at + "input_layernorm.weight", "BF16", [3072]
        yield at + "post_attention_layernorm.weight", "BF16", [3072]
        yield at + "block_sparse_moe.gate.weight", "F32", [256, 3072]
        yield at + "block_sparse_moe.e_score_correction_bias", "F32", [256]
        for expert in range(EXPERTS):
            of = f"block_sparse_moe.experts.{expert}."
            yield from quantised(of + "w1", 1536, 3072)
            yield from quantised(of + "w2", 3072, 1536)
            yield from quantised(of + "w3", 1536, 3072)
    yield "model.norm.weight", "BF16", [3072]
    yield "lm_head.weight", "BF16", [200064, 3072]


def write_sparse(path, tensors):
    """A safetensors file of these tensors whose data is a hole. Types of more bytes come first, so
    that all are aligned."""
    header, at = {}, 0
    for name, dtype, shape in sorted(tensors, key=lambda tensor: -BYTES[tensor[1]]):
        size = math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    rewrite(path, header, at)
    return header, at


def rewrite(path, header, data_bytes):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + data_bytes)


@pytest.fixture(scope="module")
def published(tmp_path_factory, need_pocket):
    """The published file set: 125 files that are named from 0 and say that they are 130."""
    folder = tmp_path_factory.mktemp("published")
    config = json.loads((POCKET / "config.json").read_text()) | {
        "hidden_size": 3072, "intermediate_size": 1536, "num_hidden_layers": LAYERS,
        "num_attention_heads": 48, "num_key_value_heads": 8, "num_local_experts": EXPERTS,
        "num_experts_per_tok": 8, "vocab_size": 200064, "attn_type_list": [1] * LAYERS}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = list(published_tensors())
    assert len(tensors) == 96103
    # Half a layer a file; what stands before and after the layers goes into the first and last.
    groups, half = [], (len(tensors) - 3) // (FILES - 1)
    for i in range(FILES - 1):
        groups.append(tensors[1 + i * half:1 + (i + 1) * half])
    groups[0].insert(0, tensors[0])
    groups.append(tensors[-2:])
    names, weight_map, files = [], {}, []
    for i, group in enumerate(groups):
        name = f"model-{i:05}-of-00130.safetensors"
        files.append(write_sparse(folder / name, group))
        weight_map |= {tensor: name for tensor, _, _ in group}
        names.append(name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder, names, files, weight_map


def test_headers_of_the_published_model(published):
    # By a process of its own: the memory of whoever starts a program counts as the program's.
    measured = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print("measured", usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(status)"""
    done = subprocess.run([sys.executable, "-c", measured, str(BIN / "m2"), "check",
                           str(published[0]), "--headers"], capture_output=True, text=True,
                          timeout=120, env=clean_environment())
    assert done.returncode == 0, done.stdout
    assert "96103 tensors in 125 files, 230.1 GB" in done.stdout
    seconds, kib = map(float, re.search(r"measured (\S+) (\S+)", done.stdout).groups())
    print(f"header check: {seconds:.2f} s, {kib / 1024:.0f} MiB")
    assert kib < 300_000


def test_all_faults_of_headers_are_told_at_once(published, tmp_path):
    folder, names, files, weight_map = published
    for name in ["config.json", *names[1:]]:  # the first is missing
        (tmp_path / name).symlink_to(folder / name)
    copies = {}
    for i in (2, 3, 4, 5):
        (tmp_path / names[i]).unlink()
        copies[i] = json.loads(json.dumps(files[i][0])), files[i][1]
    rewrite(tmp_path / names[2], *copies[2])
    os.truncate(tmp_path / names[2], os.path.getsize(tmp_path / names[2]) - 4096)
    header, size = copies[3]  # two tensors overlap
    same = [name for name in header if name.endswith("w1.weight")]
    header[same[1]]["data_offsets"] = header[same[0]]["data_offsets"]
    rewrite(tmp_path / names[3], header, size)
    header, size = copies[4]  # of another type, in a file that is right
    twisted = next(name for name in header if name.endswith("w2.weight"))
    rows, columns = header[twisted]["shape"]
    header[twisted] |= {"dtype": "BF16", "shape": [rows // 2, columns]}
    rewrite(tmp_path / names[4], header, size)
    header, size = copies[5]  # one too many, and one that is not there
    gone = next(name for name in header if name.endswith("w3.weight"))
    header["model.stranger"] = header.pop(gone)
    rewrite(tmp_path / names[5], header, size)
    index = {**weight_map, "model.stranger": names[5]}
    del index[gone]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    done = m2("check", tmp_path, "--headers")
    assert done.returncode == 1
    for said in (f"1 of 125 weight files are missing: {names[0]}", names[2], "overlap", names[3],
                 f"{twisted} is BF16", "model.stranger", gone, "3 files that cannot be used"):
        assert said in done.stdout, said


def test_the_pocket_is_right(need_pocket):
    done = m2("check", POCKET)
    assert done.returncode == 0, done.stdout
    assert "BAD" not in done.stdout and "is none of the published ones" in done.stdout
    assert '"Who won the world series in 2020?": Dodgers' in done.stdout
    assert re.search(r"ok +scales +those of 1440 blocks of 140 matrices", done.stdout), done.stdout
    assert re.search(r"ok +agreement +fast and plain kernels: 1\d\d logprobs", done.stdout)


class Copy:
    """The pocket in a folder of its own, without hashes, whose tensors can be changed."""

    def __init__(self, folder):
        self.folder = folder
        for path in POCKET.iterdir():
            shutil.copy(path, folder / path.name)
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        self.index = index["weight_map"]
        self.data = {name: bytearray((folder / name).read_bytes()) for name in SHARDS}

    def place(self, tensor):
        """Its file's bytes, its begin and end in them, and its shape."""
        file = self.data[self.index[tensor]]
        size = int.from_bytes(file[:8], "little")
        entry = json.loads(file[8:8 + size])[tensor]
        begin, end = entry["data_offsets"]
        return file, 8 + size + begin, 8 + size + end, entry["shape"]

    def write(self):
        for name in SHARDS:
            (self.folder / name).write_bytes(self.data[name])


def test_the_model_may_take_several_ranks(need_pocket):
    done = m2("check", POCKET, "-tp", "2", "-ep")
    assert done.returncode == 0 and "2 ranks" in done.stderr, done.stdout
    assert re.search(r"ok +agreement", done.stdout), done.stdout


def test_what_cannot_be_asked_is_no_fault_of_the_model(need_pocket, tmp_path):
    done = m2("check", POCKET, "-tp", "3")
    assert done.returncode == 2 and "tensor parallel size 3" in done.stderr and not done.stdout
    done = m2("check", tmp_path)
    assert done.returncode == 1 and "config.json: cannot be opened: No such file" in done.stderr
    done = m2("check", NAME, env={"HF_HOME": str(tmp_path)})
    assert done.returncode == 1 and f"m2 download {NAME} brings it there" in done.stderr


def test_a_device_that_is_not_here_is_no_fault_of_the_model(need_pocket):
    checked = m2("check", POCKET, "--device", "cuda")
    if checked.returncode == 0:
        pytest.skip("a GPU is here")
    assert not checked.stdout and checked.stderr.startswith("m2 check: device cuda: ")
    served = m2("serve", POCKET, "--device", "cuda", "--port", "0", "--host", "127.0.0.1")
    said = checked.stderr.removeprefix("m2 check: ").strip()
    assert served.returncode == 1 and said in served.stderr, (said, served.stderr)
    # The files can be looked at without it.
    assert m2("check", POCKET, "--device", "cuda", "--no-forward").returncode == 0


def test_a_garbled_model_is_told_from_a_right_one(need_pocket, tmp_path):
    # Rotating all 128 dimensions in place of 64, as other programs once did.
    done = m2("check", POCKET, "--hf-overrides", '{"rotary_dim": 128}')
    assert done.returncode == 1 and re.search("BAD +forward", done.stdout), done.stdout
    # Layers in each other's place: all names and shapes are right, in a folder without hashes.
    copy = Copy(tmp_path)
    for kind in ("self_attn.o_proj.weight", "self_attn.q_proj.weight", "self_attn.v_proj.weight"):
        first, begin, end, _ = copy.place(f"model.layers.0.{kind}")
        second, at, stop, _ = copy.place(f"model.layers.4.{kind}")
        first[begin:end], second[at:stop] = second[at:stop], first[begin:end]
    copy.write()
    done = m2("check", tmp_path)
    assert done.returncode == 1 and re.search("BAD +forward", done.stdout), done.stdout


@pytest.mark.parametrize("tensor, row, factor", [
    ("model.layers.0.self_attn.q_proj", 3, 8), ("model.layers.4.self_attn.o_proj", 1, 0.5),
    ("model.layers.2.block_sparse_moe.experts.5.w2", 0, 2),
    ("model.layers.3.block_sparse_moe.experts.1.w1", 2, 64)])
def test_a_changed_row_of_scales_shows_without_hashes(need_pocket, tmp_path, tensor, row, factor):
    copy = Copy(tmp_path)
    name = tensor + ".weight_scale_inv"
    file, begin, _, shape = copy.place(name)
    at = begin + 4 * row * shape[1]
    values = struct.unpack_from(f"<{shape[1]}f", file, at)
    struct.pack_into(f"<{shape[1]}f", file, at, *(value * factor for value in values))
    copy.write()
    said = m2("check", tmp_path).stdout
    assert re.search(rf"note scales +1 of 140 matrices .* {re.escape(name)}, row {row}", said), said
    print(tensor, row, factor, re.search(r"perplexity [\d.]+", said).group())
    # What is no number is no opinion.
    struct.pack_into("<f", file, at, float("nan"))
    copy.write()
    done = m2("check", tmp_path, "--no-forward")
    assert done.returncode == 1 and f"{name} [{row}, 0] is nan" in done.stdout, done.stdout


def test_wrong_bytes_are_found_by_their_hash(pocket_files, tmp_path):  # noqa: F811
    with Mirror(pocket_files) as mirror:
        assert download(mirror, tmp_path).returncode == 0
    env = {"HF_HOME": str(tmp_path)}
    done = m2("check", NAME, env=env)
    assert done.returncode == 0 and "8 files as the hub has them" in done.stdout, done.stdout
    # One row of scales is another: every shape is right, and every value is a good number.
    blob = pathlib.Path(os.path.realpath(snapshot(tmp_path) / SHARDS[0]))
    data = bytearray(blob.read_bytes())
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    begin, end = header["model.layers.0.self_attn.q_proj.weight_scale_inv"]["data_offsets"]
    start = 8 + int.from_bytes(data[:8], "little")
    assert end - begin >= 8
    data[start + begin:start + begin + 8] = struct.pack("<2f", 0.25, 0.125)
    blob.write_bytes(data)
    done = m2("check", NAME, env=env)
    assert done.returncode == 1
    assert re.search(rf"BAD +hashes +{SHARDS[0]}.*remove {blob} and download", done.stdout), done.stdout
    # A shard in the other's place.
    shutil.copyfile(snapshot(tmp_path) / SHARDS[1], blob)
    done = m2("check", NAME, env=env)
    assert done.returncode == 1 and "indexed, but not in" in done.stdout


def test_plan_asks_whichever_plugin_is_here(tmp_path):
    plugin = BIN / "libm2_cuda.so"
    if not plugin.exists():
        pytest.skip(f"no {plugin}")
    plans = []
    # The same under the other's name stands for the other.
    for name in (plugin.name, "libm2_cuda_sm70.so"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(BIN / "m2", folder)
        shutil.copy(plugin, folder / name)
        done = subprocess.run([folder / "m2", "plan", "MiniMaxAI/MiniMax-M2.5", "-tp", "4", "--json"],
                              capture_output=True, text=True, timeout=120, env=clean_environment())
        assert done.returncode == 0, done.stderr
        plans.append(json.loads(done.stdout))
    assert plans[0]["working_bytes_counted"] and plans[1] == plans[0]


def test_plan_as_a_table_and_as_json():
    words = ("plan", "MiniMaxAI/MiniMax-M2.5", "--gpu", "h20-141", "-tp", "8",
             "--enable_expert_parallel", "--kv-cache-dtype", "fp8")
    plan = json.loads(m2(*words, "--json").stdout)
    assert plan["kv_tokens"] >= 7_200_000 and plan["kv_bytes_a_token"] == 126_976
    assert plan["gpus"] == 8 and plan["max_model_tokens"] == 196_608
    assert plan["sequences_at"][-1]["sequences"] == plan["kv_tokens"] // 196_608
    table = m2(*words).stdout
    assert f"{plan['kv_tokens']:,}" in table and "196,608" in table
    # A row a flag: what it would change, by the same plan.
    rows = {row["flag"]: row for row in plan["flags"]}
    assert rows["--kv-cache-dtype auto"]["kv_tokens"] < 0.51 * plan["kv_tokens"]
    assert rows["--max-model-len 32768"]["max_model_tokens"] == 32768
    changed = json.loads(m2(*words, "--gpu-memory-utilization", "0.9", "--json").stdout)
    assert rows["--gpu-memory-utilization 0.9"]["kv_tokens"] == changed["kv_tokens"]
    assert changed["kv_tokens"] < plan["kv_tokens"]
    for row in rows.values():
        assert row["flag"] in table
        assert f"{row['kv_tokens']:,}" in table
    # Where the model's length does not fit, that is told, and what m2 serve then wants.
    tight = m2("plan", "MiniMaxAI/MiniMax-M2.5", "--gpu-memory-gib", "64", "-tp", "4")
    assert tight.returncode == 0 and "--max-model-len auto" in tight.stdout, tight.stdout
    less = m2("plan", "MiniMaxAI/MiniMax-M2.5", "--gpu-memory-gib", "40", "-tp", "4")
    assert less.returncode == 1 and "weights" in less.stderr
    # Where nothing fits, the flags that would make room are told.
    assert re.search("with --tensor-parallel-size 8: [1-9][0-9,]+ KV tokens", less.stderr), less.stderr
    assert "--kv-cache-dtype" not in less.stderr
    none = m2("plan", "MiniMaxAI/MiniMax-M2.5", "--gpu-memory-gib", "8")
    assert none.returncode == 1 and "no other value of one flag makes room" in none.stderr
    nothing = m2("plan", "--gpu", "h100")
    assert nothing.returncode == 2 and "m2 plan MODEL" in nothing.stderr
    assert m2("plan", "MiniMaxAI/MiniMax-M2.5", "--gpu", "h20").returncode == 2
    assert m2("plan", POCKET, "--gpu", "h100").returncode == 0
