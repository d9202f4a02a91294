"""Writes the checkpoint folder: shards, index and configuration in the form of the real members."""
import json
import os
import shutil

import torch
from safetensors.torch import save_file

from encoder import Encoder
from inference import load_tensors
from model import fp8_blocks

SHARD_BYTES = 14_000_000


def tensors_of(model):
    """Name -> tensor, in the order of the layers."""
    out = {"model.embed_tokens.weight": model.embed.detach().bfloat16()}

    def matrix(name, w):
        values, scale = fp8_blocks(w.detach())
        out[f"{name}.weight"], out[f"{name}.weight_scale_inv"] = values, scale

    for l in range(model.shape.layers):
        p = f"model.layers.{l}"
        for n in "qkvo":
            matrix(f"{p}.self_attn.{n}_proj", getattr(model, n)[l])
        for n in ("q_norm", "k_norm"):
            out[f"{p}.self_attn.{n}.weight"] = getattr(model, n)[l].detach().bfloat16()
        out[f"{p}.input_layernorm.weight"] = model.input_norm[l].detach().bfloat16()
        out[f"{p}.post_attention_layernorm.weight"] = model.post_norm[l].detach().bfloat16()
        out[f"{p}.block_sparse_moe.gate.weight"] = model.gate[l].detach().float()
        out[f"{p}.block_sparse_moe.e_score_correction_bias"] = model.bias[l].detach().float()
        for e in range(model.shape.experts):
            for n in ("w1", "w2", "w3"):
                matrix(f"{p}.block_sparse_moe.experts.{e}.{n}", getattr(model, n)[l, e])
    out["model.norm.weight"] = model.norm.detach().bfloat16()
    out["lm_head.weight"] = model.lm_head.detach().bfloat16()
    return {n: t.cpu().contiguous() for n, t in out.items()}


@torch.no_grad()
def restore(model, folder):
    """The exported weights of a folder into a model of the same shape; FP8 matrices multiplied out."""
    tensors = load_tensors(folder)
    for name in tensors_of(model):
        if name.endswith("_scale_inv"):
            continue
        target, parts = model, name.removeprefix("model.").split(".")
        if parts[0] == "layers":
            l, kind = int(parts[1]), parts[-2]
            if "experts" in parts:
                target = getattr(model, kind)[l, int(parts[-3])]
            elif parts[-1] == "e_score_correction_bias":
                target = model.bias[l]
            else:
                short = {"input_layernorm": "input_norm", "post_attention_layernorm": "post_norm"}.get(kind, kind)
                target = getattr(model, short.removesuffix("_proj"))[l]
        else:
            target = getattr(model, {"embed_tokens": "embed"}.get(parts[0], parts[0]))
        if target.shape != tensors[name].shape:
            raise SystemExit(f"{folder}: {name} is {list(tensors[name].shape)}, not {list(target.shape)}")
        target.copy_(tensors[name])


def config(shape):
    return {
        "architectures": ["MiniMaxM2ForCausalLM"], "attention_dropout": 0.0,
        "attn_type_list": [1] * shape.layers,
        "auto_map": {"AutoConfig": "configuration_minimax_m2.MiniMaxM2Config",
                     "AutoModelForCausalLM": "modeling_minimax_m2.MiniMaxM2ForCausalLM"},
        "head_dim": shape.head_dim, "hidden_act": "silu", "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate, "max_position_embeddings": 196608, "model_type": "minimax_m2",
        "mtp_transformer_layers": 1, "num_attention_heads": shape.heads, "num_experts_per_tok": shape.top_k,
        "num_hidden_layers": shape.layers, "num_key_value_heads": shape.kv_heads, "num_local_experts": shape.experts,
        "num_mtp_modules": 3, "qk_norm_type": "per_layer",
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "float8_e4m3fn", "quant_method": "fp8",
                                "weight_block_size": [128, 128],
                                "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"]},
        "rms_norm_eps": shape.eps, "rope_theta": int(shape.theta), "rotary_dim": shape.rotary,
        "scoring_func": "sigmoid", "shared_intermediate_size": 0, "tie_word_embeddings": False,
        "transformers_version": "4.46.1", "use_cache": True, "use_mtp": True, "use_qk_norm": True,
        "use_routing_bias": True, "vocab_size": shape.rows}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def export(model, folder):
    tensors = tensors_of(model)
    shards, size = [{}], 0
    for name, t in tensors.items():
        n = t.numel() * t.element_size()
        if size + n > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = t
        size += n
    where, total = {}, 0
    for i, shard in enumerate(shards):  # counted from zero, as the real ones
        file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, os.path.join(folder, file), metadata={"format": "pt"})
        os.chmod(os.path.join(folder, file), 0o644)
        for name, t in shard.items():
            where[name] = file
            total += t.numel() * t.element_size()
    write_json(os.path.join(folder, "model.safetensors.index.json"),
               {"metadata": {"total_size": total}, "weight_map": where})
    write_json(os.path.join(folder, "config.json"), config(model.shape))
    added = Encoder(folder).added
    write_json(os.path.join(folder, "generation_config.json"),
               {"bos_token_id": added["]~b]"], "do_sample": True, "eos_token_id": added["[e~["], "temperature": 1.0,
                "top_p": 0.95, "top_k": 40, "transformers_version": "4.46.1"})
    here = os.path.dirname(os.path.abspath(__file__))
    shutil.copyfile(os.path.join(here, "chat_template.jinja"), os.path.join(folder, "chat_template.jinja"))
    print(f"exported {len(tensors)} tensors, {total / 1e6:.2f} MB, {len(shards)} shards")
