"""Writes a checkpoint of the real model's shape with random weights, to measure loading with.

Usage: make_checkpoint.py FOLDER [--layers 3] [--experts 256] [--like models/pocket]
Tokenizer and template come from the folder it is like; the config from there too, but for the shape.
"""
import argparse
import json
import os
import pathlib
import shutil

SHAPE = {"hidden_size": 3072, "intermediate_size": 1536, "num_attention_heads": 48, "num_key_value_heads": 8,
         "head_dim": 128, "num_local_experts": 256, "num_experts_per_tok": 8, "vocab_size": 200064}
BLOCK = 128


def tensors_of_layer(index):
    hidden, q, kv = SHAPE["hidden_size"], 48 * 128, 8 * 128
    layer = f"model.layers.{index}."
    yield layer + "input_layernorm.weight", "BF16", [hidden]
    yield layer + "post_attention_layernorm.weight", "BF16", [hidden]
    for name, size in (("q_norm", q), ("k_norm", kv)):
        yield layer + f"self_attn.{name}.weight", "BF16", [size]
    for name, rows, columns in (("q", q, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, q)):
        yield layer + f"self_attn.{name}_proj.weight", "F8_E4M3", [rows, columns]
    moe = layer + "block_sparse_moe."
    yield moe + "gate.weight", "F32", [SHAPE["num_local_experts"], hidden]
    yield moe + "e_score_correction_bias", "F32", [SHAPE["num_local_experts"]]
    for expert in range(SHAPE["num_local_experts"]):
        for name in ("w1", "w2", "w3"):
            shape = [SHAPE["intermediate_size"], hidden]
            yield moe + f"experts.{expert}.{name}.weight", "F8_E4M3", shape[::-1] if name == "w2" else shape


def with_scales(tensors):
    for name, dtype, shape in tensors:
        yield name, dtype, shape
        if dtype == "F8_E4M3":
            yield name + "_scale_inv", "F32", [-(-n // BLOCK) for n in shape]


def write_file(path, tensors, noise):
    size = {"F8_E4M3": 1, "BF16": 2, "F32": 4}
    header, offset = {}, 0
    for name, dtype, shape in tensors:
        count = size[dtype]
        for n in shape:
            count *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + count]}
        offset += count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name, entry in header.items():
            left = entry["data_offsets"][1] - entry["data_offsets"][0]
            if entry["dtype"] == "F32":  # any bits would not do for scales
                f.write(b"\x00\x00\x80\x3c" * (left // 4))  # 1/64
                continue
            while left > 0:
                left -= f.write(noise[:left])
    return dict.fromkeys(header, os.path.basename(path))


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("folder", type=pathlib.Path)
    a.add_argument("--layers", type=int, default=3)
    a.add_argument("--experts", type=int, default=256)
    a.add_argument("--like", type=pathlib.Path, default=pathlib.Path("models/pocket"))
    a = a.parse_args()
    SHAPE["num_local_experts"] = a.experts
    a.folder.mkdir(parents=True, exist_ok=True)
    for path in a.like.iterdir():
        if path.suffix in (".json", ".jinja") and "index" not in path.name:
            shutil.copy(path, a.folder)
    config = json.loads((a.like / "config.json").read_text())
    config |= SHAPE | {"num_hidden_layers": a.layers, "attn_type_list": [1] * a.layers}
    (a.folder / "config.json").write_text(json.dumps(config))
    # Small finite values, as e4m3 and as the upper byte of bf16 too.
    noise = os.urandom(1 << 24).translate(bytes((i & 0xbf) if i & 0x40 else i for i in range(256)))
    ends = [("model.embed_tokens.weight", "BF16", [SHAPE["vocab_size"], SHAPE["hidden_size"]]),
            ("lm_head.weight", "BF16", [SHAPE["vocab_size"], SHAPE["hidden_size"]]),
            ("model.norm.weight", "BF16", [SHAPE["hidden_size"]])]
    files = [list(with_scales(tensors_of_layer(i))) for i in range(a.layers)] + [ends]
    places = {}
    for number, tensors in enumerate(files, 1):
        places |= write_file(a.folder / f"model-{number:05}-of-{len(files):05}.safetensors", tensors, noise)
    (a.folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


if __name__ == "__main__":
    main()
