"""Trains the pocket checkpoint for a number of seconds and exports it.

Usage: train.py --folder DIR (holds tokenizer.json; the result goes there) --seconds N
       [--state FILE (saved state, resumed if it exists)] [--start (from the weights that are in DIR)]
       [--cpu (small smoke run)]
"""
import argparse
import os
import time

import torch

from export import export, restore
from model import Model, Shape
from muon import Muon
from stream import LONGEST, Stream, unpack

WARM_UP_STEPS = 150
RATE = 3e-3
DECAY_SHARE = 0.6  # of the run: the rate falls linearly to zero


def rate_factor(step, done):
    return min(1.0, (step + 1) / WARM_UP_STEPS) * min(1.0, max(0.0, (1 - done) / DECAY_SHARE))


def weighted_loss(logits, ids, weights):
    """Cross entropy of the next token; weights belong to the token predicted."""
    logits, target, w = logits[:-1].float(), ids[1:].long(), weights[1:]
    losses = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    full = (w == 1).float()
    return (losses * w).sum() / w.sum(), (losses * full).sum().detach() / full.sum().clamp_min(1)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--folder", required=True)
    a.add_argument("--seconds", type=float, required=True)
    a.add_argument("--state")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--tokens", type=int, default=32768)
    a.add_argument("--processes", type=int, default=14)
    a.add_argument("--steps", type=int, default=10 ** 9)
    a.add_argument("--rate", type=float, default=RATE)
    a.add_argument("--start", action="store_true", help="go on from the exported weights of the folder")
    a.add_argument("--cpu", action="store_true")
    a = a.parse_args()
    device = "cpu" if a.cpu else "cuda"
    torch.manual_seed(a.seed)
    stream = Stream(a.folder, a.tokens, a.processes, a.seed)  # forks: before CUDA starts
    model = Model(Shape(), a.seed)
    if a.start:
        restore(model, a.folder)
    model = model.to(device)
    matrices = [getattr(model, n) for n in Model.MATRICES]
    rest = [p for n, p in model.named_parameters() if n not in Model.MATRICES]
    muon = Muon(matrices, compiled=not a.cpu)
    adam = torch.optim.Adam(rest, lr=0.0, betas=(0.9, 0.97), fused=not a.cpu)
    step, before = 0, 0.0
    if a.state and os.path.exists(a.state):
        state = torch.load(a.state, map_location=device)
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        step, before = state["step"], state["seconds"]
        print(f"resumed at step {step}, {before:.0f} s", flush=True)
    loss_of = weighted_loss
    if not a.cpu:
        model.block = torch.compile(model.block, dynamic=False)
        model.round = torch.compile(model.round, dynamic=False)
        loss_of = torch.compile(weighted_loss, dynamic=False)
    dtype = torch.float32 if a.cpu else torch.bfloat16

    def save(seconds):
        if a.state:
            torch.save({"model": model.state_dict(), "muon": muon.state_dict(), "adam": adam.state_dict(),
                        "step": step, "seconds": seconds}, a.state + ".new")
            os.replace(a.state + ".new", a.state)

    def fetch():
        flat = torch.from_numpy(stream.next())
        return flat if a.cpu else flat.pin_memory().to(device, non_blocking=True)

    start, saved, waited, first = None, before, 0.0, step
    pack = fetch()
    load_sum = torch.zeros_like(model.bias)
    while step < a.steps:
        seconds = before + (time.time() - start if start else 0.0)
        if seconds >= a.seconds:
            break
        factor = rate_factor(step, seconds / a.seconds)
        for group in muon.param_groups + adam.param_groups:
            group["lr"] = a.rate * factor
        ids, weights, positions, bounds = unpack(pack, a.tokens)
        logits, load = model(ids, positions, bounds, LONGEST, dtype)
        loss, reply = loss_of(logits, ids, weights)
        loss.backward()
        muon.step()
        adam.step()
        t = time.time()
        pack = fetch()  # while the device still works
        waited += time.time() - t
        muon.zero_grad()
        adam.zero_grad()
        with torch.no_grad():  # experts with too little load become easier to choose
            model.bias += 2e-3 * max(factor, 0.05) * torch.sign(load.mean(-1, keepdim=True) - load)
            load_sum = 0.98 * load_sum + 0.02 * load / load.mean(-1, keepdim=True)
        step += 1
        if start is None and step >= first + 3:  # compilation does not count
            if not a.cpu:
                torch.cuda.synchronize()
            start = time.time()
        if step % (200 if not a.cpu else 5) == 0:
            rate = a.tokens * (step - first) / max(1e-9, time.time() - start) if start else 0
            print(f"step {step} {seconds:.0f} s loss {loss.item():.4f} reply {reply.item():.4f} "
                  f"load {load_sum.min().item():.2f}..{load_sum.max().item():.2f} {rate / 1e3:.0f} K/s waited {waited:.1f}",
                  flush=True)
        if seconds - saved > 200:
            save(seconds)
            export(model, a.folder)
            saved = seconds
    save(before + (time.time() - start if start else 0.0))
    stream.close()
    export(model, a.folder)
    print(f"done: {step} steps, {step * a.tokens / 1e6:.0f}M tokens", flush=True)


if __name__ == "__main__":
    main()
