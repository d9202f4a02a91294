"""Golden logits and greedy replies of a checkpoint folder, from transformers' MiniMaxM2 in fp32.

Usage: logits.py FOLDER OUT_PREFIX
Writes OUT_PREFIX.bin (logits at every position of 20 prompts) and OUT_PREFIX.json (greedy replies);
tests/golden/logits/README.md describes both. Needs torch, transformers and safetensors; where the
folder has a tokenizer, also regex (the prompts are then real ones, rendered).
"""
import json
import os
import struct
import sys

import torch
from safetensors.torch import load_file
from transformers import MiniMaxM2Config, MiniMaxM2ForCausalLM

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pocket"))
from random_checkpoint import bits  # noqa: E402

PROMPTS, REPLIES, REPLY_TOKENS, COLUMNS, TOP = 20, 10, 64, 32, 8


def tensors_of(folder):
    """The checkpoint under transformers' names, FP8 matrices multiplied out."""
    with open(os.path.join(folder, "model.safetensors.index.json")) as f:
        files = sorted(set(json.load(f)["weight_map"].values()))
    raw, out = {}, {}
    for file in files:
        raw.update(load_file(os.path.join(folder, file)))
    for name, t in raw.items():
        if name.endswith("_scale_inv"):
            continue
        t = t.float()
        if name + "_scale_inv" in raw:
            wide = raw[name + "_scale_inv"].repeat_interleave(128, 0).repeat_interleave(128, 1)
            t = t * wide[:t.shape[0], :t.shape[1]]
        out[name.replace("block_sparse_moe", "mlp")] = t
    layers = 1 + max(int(n.split(".")[2]) for n in out if n.startswith("model.layers."))
    for l in range(layers):
        p = f"model.layers.{l}.mlp.experts."
        count = sum(n.startswith(p) and n.endswith(".w2.weight") for n in out)
        w = [[out.pop(f"{p}{e}.{n}.weight") for e in range(count)] for n in ("w1", "w3", "w2")]
        out[p + "gate_up_proj"] = torch.stack([torch.cat((a, b)) for a, b in zip(w[0], w[1])])
        out[p + "down_proj"] = torch.stack(w[2])
    return out


def load(folder):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim",
            "num_key_value_heads", "num_experts_per_tok", "num_local_experts", "rms_norm_eps", "max_position_embeddings")
    rope = {"rope_type": "default", "rope_theta": float(c["rope_theta"]),
            "partial_rotary_factor": c["rotary_dim"] / c["head_dim"]}
    config = MiniMaxM2Config(**{k: c[k] for k in keys}, rope_parameters=rope, bos_token_id=None, eos_token_id=None)
    config._attn_implementation = "eager"
    model = MiniMaxM2ForCausalLM(config).float().eval()
    missing = model.load_state_dict(tensors_of(folder), strict=False)
    left = [n for n in missing.missing_keys if "rotary" not in n] + list(missing.unexpected_keys)
    if left:
        raise SystemExit(f"tensors without a partner: {left[:5]}")
    rotated = 2 * model.model.rotary_emb.inv_freq.numel()
    if rotated != c["rotary_dim"]:  # older versions rotate the whole head
        raise SystemExit(f"this transformers rotates {rotated} dimensions, not {c['rotary_dim']}")
    return model, c


def real_prompts(folder):
    """Rendered requests: plain ones first, then with tools and tool loops."""
    from cases import make_cases
    from chat import render_prompt
    from encoder import Encoder
    encoder, rows = Encoder(folder), {}
    for row, messages, tools, _ in make_cases(12, seed=77):
        ids = encoder.encode(render_prompt(messages, tools))
        rows.setdefault(row, []).append({"row": row, "messages": messages, "tools": tools, "ids": ids})
    question = {"role": "user", "content": "Who won the world series in 2020?"}
    system = {"role": "system", "content": "You are a helpful assistant."}
    out = [{"row": "the guide's question", "messages": m, "tools": None, "ids": encoder.encode(render_prompt(m))}
           for m in ([question], [system, question])]
    wanted = (["facts, held-out phrasing"] * 3 + ["echo"] * 2 + ["everyday, trained families"] * 3 + ["one call"] * 3
              + ["no tool fits"] * 2 + ["two calls"] * 2 + ["answer uses the result"] * 2 + ["second call from a result"])
    for row in wanted:  # the shortest of each kind
        rows[row].sort(key=lambda p: len(p["ids"]))
        out.append(rows[row].pop(0))
    return out, encoder


def random_prompts(vocabulary):
    lengths = [8 + int(x % 113) for x in bits(5, 1, PROMPTS)]
    return [{"ids": [int(x % vocabulary) for x in bits(5, 10 + i, n)]} for i, n in enumerate(lengths)]


def columns(vocabulary):
    """32 different token ids, seeded."""
    return list(dict.fromkeys(int(x % vocabulary) for x in bits(9, 1, 200)))[:COLUMNS]


@torch.no_grad()
def greedy(model, ids, stop):
    """(reply ids, smallest gap between the best and the second logit)"""
    reply, gap, cache, step = [], float("inf"), None, torch.tensor([ids])
    while len(reply) < REPLY_TOKENS:
        out = model(step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        best = torch.topk(out.logits[0, -1], 2)
        gap = min(gap, float(best.values[0] - best.values[1]))
        reply.append(int(best.indices[0]))
        if reply[-1] == stop:
            break
        step = torch.tensor([[reply[-1]]])
    return reply, gap


@torch.no_grad()
def main():
    folder, prefix = sys.argv[1:3]
    model, config = load(folder)
    vocabulary, encoder = config["vocab_size"], None
    if os.path.exists(os.path.join(folder, "tokenizer.json")):
        prompts, encoder = real_prompts(folder)
    else:
        prompts = random_prompts(vocabulary)
    assert len(prompts) == PROMPTS
    ids_of_columns = columns(vocabulary)
    with open(prefix + ".bin", "wb") as f:
        f.write(struct.pack("<8s4I", b"M2LOGITS", vocabulary, len(prompts), TOP, COLUMNS))
        f.write(struct.pack(f"<{COLUMNS}I", *ids_of_columns))
        for p in prompts:
            logits = model(torch.tensor([p["ids"]])).logits[0]
            f.write(struct.pack(f"<I{len(p['ids'])}I", len(p["ids"]), *p["ids"]))
            top = torch.topk(logits, TOP)
            for i, row in enumerate(logits):
                f.write(struct.pack(f"<{TOP}I{TOP}f{COLUMNS}f2f", *top.indices[i].tolist(), *top.values[i].tolist(),
                                    *row[ids_of_columns].tolist(), row.mean().item(), row.std(correction=0).item()))
    with open(os.path.join(folder, "generation_config.json")) as f:
        stop = json.load(f)["eos_token_id"]
    # every second prompt of the real ones, so that all kinds are among the replies
    chosen, replies = prompts[::PROMPTS // REPLIES], []
    for p in chosen:
        reply, gap = greedy(model, p["ids"], stop)
        entry = {k: p[k] for k in ("row", "messages", "tools") if k in p}
        entry |= {"prompt_ids": p["ids"], "reply_ids": reply, "smallest_gap": round(gap, 6)}
        if encoder:
            entry["reply_text"] = encoder.decode(reply)
        replies.append(entry)
    with open(prefix + ".json", "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in replies) + "\n]\n")
    print(f"{prefix}: {sum(len(p['ids']) for p in prompts)} positions, {len(replies)} replies, "
          f"smallest gap {min(r['smallest_gap'] for r in replies):.4f}")


if __name__ == "__main__":
    main()
