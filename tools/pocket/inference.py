"""Loads an exported folder and generates in batches, for the evaluation on a GPU (or slowly a CPU)."""
import json
import os

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from model import BLOCK, Shape, experts, rms_norm, rope_tables, route


def load_tensors(folder):
    """All tensors with FP8 matrices multiplied out, fp32."""
    with open(os.path.join(folder, "model.safetensors.index.json")) as f:
        files = sorted(set(json.load(f)["weight_map"].values()))
    raw = {}
    for file in files:
        raw.update(load_file(os.path.join(folder, file)))
    out = {}
    for name, t in raw.items():
        if name.endswith("_scale_inv"):
            continue
        t = t.float()
        scale = raw.get(name + "_scale_inv")
        if scale is not None:
            scale = scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
            t = t * scale[:t.shape[0], :t.shape[1]]
        out[name] = t
    return out


class Runner:
    def __init__(self, folder, device, dtype):
        with open(os.path.join(folder, "config.json")) as f:
            c = json.load(f)
        self.shape = s = Shape(c["vocab_size"], c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"],
                               c["num_key_value_heads"], c["head_dim"], c["rotary_dim"], c["num_local_experts"],
                               c["intermediate_size"], c["num_experts_per_tok"], c["rope_theta"], c["rms_norm_eps"])
        t = load_tensors(folder)
        self.device, self.dtype = device, dtype

        def to(x, kind=None):
            return x.to(device, kind or dtype)

        self.embed, self.head = to(t["model.embed_tokens.weight"]), to(t["lm_head.weight"])
        self.norm, self.layers = to(t["model.norm.weight"]), []
        for l in range(s.layers):
            p = f"model.layers.{l}."
            w = {n: to(t[f"{p}self_attn.{n}_proj.weight"]) for n in "qkvo"}
            w |= {n: to(t[f"{p}self_attn.{n}.weight"]) for n in ("q_norm", "k_norm")}
            w["input_norm"], w["post_norm"] = to(t[p + "input_layernorm.weight"]), to(t[p + "post_attention_layernorm.weight"])
            w["gate"] = to(t[p + "block_sparse_moe.gate.weight"], torch.float32)
            w["bias"] = to(t[p + "block_sparse_moe.e_score_correction_bias"], torch.float32)
            for n in ("w1", "w2", "w3"):
                w[n] = to(torch.stack([t[f"{p}block_sparse_moe.experts.{e}.{n}.weight"] for e in range(s.experts)]))
            self.layers.append(w)

    def forward(self, ids, start, cache, mask):
        """ids [rows, n] at positions start [rows] + 0..n-1; cache: per layer (k, v) [rows, kv, most, dim]."""
        s, (b, n) = self.shape, ids.shape
        at = start[:, None] + torch.arange(n, device=self.device)
        cos, sin = (t[at.flatten()] for t in self.tables)
        x = F.embedding(ids, self.embed).float()
        rows = torch.arange(b, device=self.device)[:, None]
        for w, (ck, cv) in zip(self.layers, cache):
            h = rms_norm(x, w["input_norm"], s.eps)
            q = rms_norm(h @ w["q"].t(), w["q_norm"], s.eps).view(b * n, s.heads, s.head_dim)
            k = rms_norm(h @ w["k"].t(), w["k_norm"], s.eps).view(b * n, s.kv_heads, s.head_dim)
            q, k = (self.rotated(t, cos, sin, b, n) for t in (q, k))
            v = (h @ w["v"].t()).view(b, n, s.kv_heads, s.head_dim)
            if n > 1:
                ck[:, :, :n], cv[:, :, :n] = k, v.transpose(1, 2)
                a = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True, enable_gqa=True)
            else:
                ck[rows, :, at], cv[rows, :, at] = k.transpose(1, 2), v
                most = mask.shape[-1]
                a = F.scaled_dot_product_attention(q, ck[:, :, :most], cv[:, :, :most], attn_mask=mask, enable_gqa=True)
            x = x + (a.transpose(1, 2).reshape(b, n, -1) @ w["o"].t()).float()
            h = rms_norm(x, w["post_norm"], s.eps).view(b * n, -1)
            gates, _ = route(h, w["gate"], w["bias"], s.top_k)
            x = x + experts(h, gates, w["w1"], w["w3"], w["w2"]).view(b, n, -1).float()
        return rms_norm(x, self.norm, s.eps)

    @staticmethod
    def rotated(t, cos, sin, b, n):
        from model import rotate
        return rotate(t, cos, sin).view(b, n, t.shape[1], t.shape[2]).transpose(1, 2)

    @torch.no_grad()
    def generate(self, prompts, stop, tokens, temperature=0.0, top_p=0.95, top_k=40, seed=0, limit=None):
        """Replies (ids without the stop token; None appended if it never came) for lists of ids."""
        s, dev, b = self.shape, self.device, len(prompts)
        lengths = torch.tensor([len(p) for p in prompts], device=dev)
        longest = int(lengths.max())
        ids = torch.zeros(b, longest, dtype=torch.long)
        for i, p in enumerate(prompts):
            ids[i, :len(p)] = torch.tensor(p)
        most = longest + tokens
        self.tables = rope_tables(most, s, dev)
        cache = [tuple(torch.zeros(b, s.kv_heads, most, s.head_dim, device=dev, dtype=self.dtype) for _ in range(2))
                 for _ in self.layers]
        h = self.forward(ids.to(dev), torch.zeros_like(lengths), cache, None)
        h = h[torch.arange(b, device=dev), lengths - 1]
        g = torch.Generator(device=dev).manual_seed(seed)
        out, open_rows, columns = [], torch.ones(b, dtype=torch.bool, device=dev), torch.arange(most, device=dev)
        for step in range(tokens):
            logits = (h @ self.head.t()).float()
            if limit:
                logits[:, limit:] = float("-inf")
            token = self.pick(logits, temperature, top_p, top_k, g)
            out.append(token)
            open_rows &= token != stop
            if step % 8 == 7 and not open_rows.any():
                break
            mask = (columns[None] <= (lengths + step)[:, None])[:, None, None]
            h = self.forward(token[:, None], lengths + step, cache, mask)[:, 0]
        return [self.cut(r, stop) for r in torch.stack(out, 1).tolist()]

    @staticmethod
    def cut(row, stop):
        return row[:row.index(stop)] if stop in row else row + [None]

    @staticmethod
    def pick(logits, temperature, top_p, top_k, g):
        if temperature == 0:
            return logits.argmax(-1)
        top, index = torch.topk(logits / temperature, top_k)  # sorted
        p = torch.softmax(top, -1)
        p = torch.where(p.cumsum(-1) - p < top_p, p, 0.0)
        return index.gather(-1, torch.multinomial(p / p.sum(-1, keepdim=True), 1, generator=g))[:, 0]
