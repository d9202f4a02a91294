"""The model in PyTorch, as it is trained: FP8 rounding of the matrices in every forward pass.

Parameters of one kind are stacked over the layers, so that rounding and the optimizer work on a
few large tensors. Experts are all evaluated, and the gates of those not chosen are zero: at this
size that is faster than gathering rows.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F

BLOCK = 128


@dataclass(frozen=True)
class Shape:
    rows: int = 1024
    hidden: int = 256
    layers: int = 5
    heads: int = 16
    kv_heads: int = 8
    head_dim: int = 128
    rotary: int = 64
    experts: int = 8
    intermediate: int = 512
    top_k: int = 2
    theta: float = 5e6
    eps: float = 1e-6


def fp8_blocks(w):
    """(e4m3 values, scales) of w [..., rows, columns]. Scales are powers of two, so the product is
    exact in bf16."""
    *lead, r, c = w.shape
    blocks = w.float().reshape(*lead, r // BLOCK, BLOCK, c // BLOCK, BLOCK)
    most = blocks.abs().amax(dim=(-3, -1), keepdim=True).clamp_min(1e-12)
    scale = torch.exp2(torch.ceil(torch.log2(most / 448.0)))
    values = (blocks / scale).to(torch.float8_e4m3fn)
    return values.reshape(w.shape), scale.reshape(*lead, r // BLOCK, c // BLOCK)


class RoundFp8(torch.autograd.Function):
    """Forward: the matrix that will be shipped. Backward: straight through."""

    @staticmethod
    def forward(ctx, w, dtype):
        *lead, r, c = w.shape
        values, scale = fp8_blocks(w)
        blocks = values.to(torch.float32).reshape(*lead, r // BLOCK, BLOCK, c // BLOCK, BLOCK)
        return (blocks * scale.reshape(*lead, r // BLOCK, 1, c // BLOCK, 1)).reshape(w.shape).to(dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad.float(), None


def rms_norm(x, weight, eps):
    x = x.float()
    x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return x.to(weight.dtype) * weight


def rope_tables(length, shape, device):
    inverse = shape.theta ** (-torch.arange(0, shape.rotary, 2, device=device, dtype=torch.float32) / shape.rotary)
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * inverse
    return angles.cos(), angles.sin()  # [length, rotary/2]


def rotate(x, cos, sin):
    """x [tokens, heads, head_dim]: the first rotary dimensions turn in pairs (i, i + rotary/2)."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    cos, sin = cos[:, None].to(x.dtype), sin[:, None].to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), dim=-1)


def route(h, gate, bias, top_k):
    """(gates [tokens, experts], chosen [tokens, top_k]); the bias chooses only."""
    scores = torch.sigmoid(h.float() @ gate.t())
    chosen = torch.topk(scores + bias, top_k, dim=-1).indices
    weights = scores.gather(-1, chosen)
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.zeros_like(scores).scatter(-1, chosen, weights), chosen


def experts(h, gates, w1, w3, w2):
    """w1, w3 [experts, intermediate, hidden]; w2 [experts, hidden, intermediate]."""
    e, i, d = w1.shape
    act = F.silu(h @ w1.reshape(e * i, d).t()) * (h @ w3.reshape(e * i, d).t())
    act = act.view(-1, e, i) * gates.to(act.dtype)[:, :, None]
    return act.view(-1, e * i) @ w2.permute(1, 0, 2).reshape(d, e * i).t()


def packed_attention(q, k, v, bounds, longest):
    """Causal attention inside each document of a pack. bounds [documents + 1], zero lengths allowed."""
    if q.is_cuda:
        from torch.nn.attention.varlen import varlen_attn
        return varlen_attn(q, k, v, bounds, bounds, longest, longest, window_size=(-1, 0))
    document = torch.bucketize(torch.arange(q.shape[0]), bounds[1:].long(), right=True)
    mask = (document[:, None] == document[None]) & torch.ones(len(q), len(q), dtype=torch.bool).tril()
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)[0].transpose(0, 1)


def block(x, w, bias, cos, sin, bounds, longest, shape):
    """One layer. x [tokens, hidden] fp32; w: this layer's parameters by name."""
    t = x.shape[0]
    h = rms_norm(x, w["input_norm"], shape.eps)
    q = rms_norm(h @ w["q"].t(), w["q_norm"], shape.eps).view(t, shape.heads, shape.head_dim)
    k = rms_norm(h @ w["k"].t(), w["k_norm"], shape.eps).view(t, shape.kv_heads, shape.head_dim)
    v = (h @ w["v"].t()).view(t, shape.kv_heads, shape.head_dim)
    a = packed_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, bounds, longest)
    x = x + (a.reshape(t, -1) @ w["o"].t()).float()
    h = rms_norm(x, w["post_norm"], shape.eps)
    gates, chosen = route(h, w["gate"], bias, shape.top_k)
    x = x + experts(h, gates, w["w1"], w["w3"], w["w2"]).float()
    load = torch.zeros(shape.experts, device=x.device).scatter_add(
        0, chosen.flatten(), torch.ones(chosen.numel(), device=x.device))
    return x, load


class Model(torch.nn.Module):
    MATRICES = ("q", "k", "v", "o", "w1", "w3", "w2")  # FP8 in the file

    def __init__(self, shape, seed=1):
        super().__init__()
        self.shape = s = shape
        g = torch.Generator().manual_seed(seed)

        def normal(*size, std):
            return torch.nn.Parameter(torch.randn(*size, generator=g) * std)

        d, l = s.hidden, s.layers
        q, kv = s.heads * s.head_dim, s.kv_heads * s.head_dim
        self.embed, self.lm_head = normal(s.rows, d, std=0.02 * 16), normal(s.rows, d, std=d ** -0.5)
        self.q, self.k, self.v = (normal(l, n, d, std=d ** -0.5) for n in (q, kv, kv))
        self.o = normal(l, d, q, std=0.2 * q ** -0.5)
        self.w1, self.w3 = (normal(l, s.experts, s.intermediate, d, std=d ** -0.5) for _ in range(2))
        self.w2 = normal(l, s.experts, d, s.intermediate, std=0.3 * s.intermediate ** -0.5)
        self.gate = normal(l, s.experts, d, std=0.5 * d ** -0.5)
        for name, width in (("input_norm", d), ("post_norm", d), ("q_norm", q), ("k_norm", kv)):
            setattr(self, name, torch.nn.Parameter(torch.ones(l, width)))
        self.norm = torch.nn.Parameter(torch.ones(d))
        self.register_buffer("bias", torch.zeros(l, s.experts))
        self.block, self.round = block, RoundFp8.apply  # train.py compiles both

    def forward(self, ids, positions, bounds, longest, dtype=torch.bfloat16):
        """ids, positions [tokens] -> (logits [tokens, rows], load [layers, experts])"""
        s = self.shape
        stacks = {n: self.round(getattr(self, n), dtype).unbind(0) for n in self.MATRICES}
        for n in ("input_norm", "post_norm", "q_norm", "k_norm"):
            stacks[n] = getattr(self, n).to(dtype).unbind(0)
        stacks["gate"] = self.gate.unbind(0)
        cos, sin = rope_tables(longest, s, ids.device)
        cos, sin = cos[positions], sin[positions]
        x = F.embedding(ids, self.embed.to(dtype)).float()
        loads = []
        for l in range(s.layers):
            x, load = self.block(x, {n: t[l] for n, t in stacks.items()}, self.bias[l], cos, sin, bounds, longest, s)
            loads.append(load)
        h = rms_norm(x, self.norm.to(dtype), s.eps)
        return h @ self.lm_head.to(dtype).t(), torch.stack(loads)
