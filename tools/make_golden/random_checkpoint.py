"""Writes a small random checkpoint in the format of the real members, the same bytes everywhere.

Numbers come from a counter-based generator (SplitMix64 over arrays), so that no version of a
library can change them. Matrices have unit gain, FP8 blocks have odd scales, norms and router
bias are far from trivial: whatever is skipped or applied twice shows in the logits.
Needs numpy only.  Usage: random_checkpoint.py OUT_DIR [--seed N]
"""
import argparse
import json
import os

import numpy as np

SHAPE = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 6,
         "num_key_value_heads": 2, "head_dim": 128, "rotary_dim": 64, "num_local_experts": 16,
         "num_experts_per_tok": 4, "vocab_size": 640}
BLOCK = 128
SHARDS = 2


def bits(seed, stream, count):
    """SplitMix64 of seed, tensor number and position: uint64 [count]."""
    with np.errstate(over="ignore"):
        start = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(stream) * np.uint64(0x9E3779B97F4A7C15 ^ 0xABCDEF)
        z = start + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(seed, stream, shape):
    """In (-1, 1), a multiple of 2^-52: exact in float64 on every machine."""
    count = int(np.prod(shape))
    u = (bits(seed, stream, count) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53
    return (2.0 * u - 1.0).reshape(shape)


E4M3 = np.array([(m / 8.0) * 2.0 ** -6 if e == 0 else (1 + m / 8.0) * 2.0 ** (e - 7)
                 for e in range(16) for m in range(8)][:127])  # the last code is NaN


def to_e4m3(x):
    """Nearest e4m3 code of float64 values within +-448 (ties to the lower code: only determinism counts)."""
    magnitude = np.abs(x)
    at = np.clip(np.searchsorted(E4M3, magnitude), 1, 126)
    lower = magnitude - E4M3[at - 1] <= E4M3[at] - magnitude
    return (np.where(lower, at - 1, at) | np.where(x < 0, 0x80, 0)).astype(np.uint8)


def to_bf16(x):
    """Round to nearest even, as uint16."""
    u = x.astype(np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


class Writer:
    def __init__(self, seed):
        self.seed, self.stream, self.tensors = seed, 0, {}

    def draw(self, shape):
        self.stream += 1
        return uniform(self.seed, self.stream, shape)

    def bf16(self, name, values):
        self.tensors[name] = ("BF16", to_bf16(values))

    def f32(self, name, values):
        self.tensors[name] = ("F32", values.astype(np.float32))

    def fp8(self, name, rows, columns):
        """Variance 1 / columns. The scale is any float: no power of two, another one in each block."""
        w = self.draw((rows, columns)) * (3.0 / columns) ** 0.5
        grid = (-(-rows // BLOCK), -(-columns // BLOCK))
        scale = ((1.5 + 0.49 * self.draw(grid)) * (3.0 / columns) ** 0.5 / 448.0).astype(np.float32)
        wide = scale.astype(np.float64).repeat(BLOCK, 0).repeat(BLOCK, 1)[:rows, :columns]
        self.tensors[name + ".weight"] = ("F8_E4M3", to_e4m3(np.clip(w / wide, -448, 448)))
        self.tensors[name + ".weight_scale_inv"] = ("F32", scale)

    def norm(self, name, width):
        self.bf16(name, 1.0 + 0.5 * self.draw((width,)))


def build(seed):
    s, w = SHAPE, Writer(seed)
    hidden, q, kv = (s["hidden_size"], s["num_attention_heads"] * s["head_dim"],
                     s["num_key_value_heads"] * s["head_dim"])
    w.bf16("model.embed_tokens.weight", 1.7 * w.draw((s["vocab_size"], hidden)))
    for l in range(s["num_hidden_layers"]):
        p = f"model.layers.{l}."
        w.fp8(p + "self_attn.q_proj", q, hidden)
        w.fp8(p + "self_attn.k_proj", kv, hidden)
        w.fp8(p + "self_attn.v_proj", kv, hidden)
        w.fp8(p + "self_attn.o_proj", hidden, q)
        w.norm(p + "self_attn.q_norm.weight", q)
        w.norm(p + "self_attn.k_norm.weight", kv)
        w.norm(p + "input_layernorm.weight", hidden)
        w.norm(p + "post_attention_layernorm.weight", hidden)
        w.f32(p + "block_sparse_moe.gate.weight", w.draw((s["num_local_experts"], hidden)) * (3.0 / hidden) ** 0.5)
        w.f32(p + "block_sparse_moe.e_score_correction_bias", 0.3 * w.draw((s["num_local_experts"],)))
        for e in range(s["num_local_experts"]):
            for n, rows, columns in (("w1", s["intermediate_size"], hidden), ("w2", hidden, s["intermediate_size"]),
                                     ("w3", s["intermediate_size"], hidden)):
                w.fp8(f"{p}block_sparse_moe.experts.{e}.{n}", rows, columns)
    w.norm("model.norm.weight", hidden)
    w.bf16("lm_head.weight", w.draw((s["vocab_size"], hidden)) * 3.0 * (3.0 / hidden) ** 0.5)
    return w.tensors


def write_shard(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, values in tensors.values():
            f.write(np.ascontiguousarray(values).tobytes())
    return at


def config():
    return {"architectures": ["MiniMaxM2ForCausalLM"], "attn_type_list": [1] * SHAPE["num_hidden_layers"],
            "hidden_act": "silu", "max_position_embeddings": 196608, "model_type": "minimax_m2",
            "mtp_transformer_layers": 1, "num_mtp_modules": 3, "qk_norm_type": "per_layer",
            "quantization_config": {"activation_scheme": "dynamic", "fmt": "float8_e4m3fn", "quant_method": "fp8",
                                    "weight_block_size": [BLOCK, BLOCK],
                                    "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"]},
            "rms_norm_eps": 1e-6, "rope_theta": 5000000, "scoring_func": "sigmoid", "shared_intermediate_size": 0,
            "tie_word_embeddings": False, "use_cache": True, "use_mtp": True, "use_qk_norm": True,
            "use_routing_bias": True, **SHAPE}


def write(folder, seed=1):
    os.makedirs(folder, exist_ok=True)
    tensors, where, total = build(seed), {}, 0
    names = list(tensors)
    for i in range(SHARDS):
        file = f"model-{i:05d}-of-{SHARDS:05d}.safetensors"
        part = names[i * len(names) // SHARDS:(i + 1) * len(names) // SHARDS]
        total += write_shard(os.path.join(folder, file), {n: tensors[n] for n in part})
        where.update({n: file for n in part})
    for file, value in (("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where}),
                        ("config.json", config()),
                        ("generation_config.json", {"eos_token_id": SHAPE["vocab_size"] - 1, "do_sample": True,
                                                    "temperature": 1.0, "top_p": 0.95, "top_k": 40})):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
            json.dump(value, f, indent=2)
            f.write("\n")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("folder")
    a.add_argument("--seed", type=int, default=1)
    a = a.parse_args()
    write(a.folder, a.seed)


if __name__ == "__main__":
    main()
