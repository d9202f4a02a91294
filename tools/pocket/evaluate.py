"""Prints the table of a checkpoint: held-out cases, greedy and at the default sampling.

Usage: evaluate.py --folder DIR [--count N] [--out FILE] [--cpu]
"""
import argparse
import collections
import json
import time

import torch

from cases import ROWS, judge, make_cases
from chat import render_prompt
from encoder import Encoder
from inference import Runner

REPLY_TOKENS = 320
BATCH_TOKENS = {"cuda": 500_000, "cpu": 4_000}


def batches(prompts, most):
    """Indices in batches of similar length, of at most so many tokens."""
    order, at = sorted(range(len(prompts)), key=lambda i: len(prompts[i])), 0
    while at < len(order):
        n = 1
        while at + n < len(order) and (n + 1) * (len(prompts[order[at + n]]) + REPLY_TOKENS) <= most:
            n += 1
        yield order[at:at + n]
        at += n


def run(runner, encoder, cases, temperature, seed=1, tokens=REPLY_TOKENS):
    prompts = [encoder.encode(render_prompt(c[1], c[2])) for c in cases]
    replies = [None] * len(cases)
    for number, rows in enumerate(batches(prompts, BATCH_TOKENS[runner.device])):
        out = runner.generate([prompts[i] for i in rows], encoder.eos, tokens, temperature,
                              seed=seed * 1000 + number, limit=encoder.size)
        for i, ids in zip(rows, out):
            replies[i] = (encoder.decode([t for t in ids if t is not None]), None not in ids)
    return replies


def table(cases, replies):
    right, count, tokens = collections.defaultdict(collections.Counter), collections.Counter(), 0
    for case, (text, ended) in zip(cases, replies):
        count[case[0]] += 1
        right[case[0]].update(judge(case, text if ended else None))
    return {row: {"cases": count[row], **{k: right[row][k] / count[row] for k in ("tool", "all", "format")}}
            for row in ROWS if count[row]}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--folder", required=True)
    a.add_argument("--count", type=int, default=500)
    a.add_argument("--seed", type=int, default=2024)
    a.add_argument("--out")
    a.add_argument("--cpu", action="store_true")
    a.add_argument("--reply-tokens", type=int, default=REPLY_TOKENS, help="fewer only for a smoke run")
    a = a.parse_args()
    start = time.time()
    device, dtype = ("cpu", torch.float32) if a.cpu else ("cuda", torch.bfloat16)
    runner, encoder = Runner(a.folder, device, dtype), Encoder(a.folder)
    cases = make_cases(a.count, a.seed)
    tables, wrong = {}, []
    for name, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        replies = run(runner, encoder, cases, temperature, tokens=a.reply_tokens)
        tables[name] = table(cases, replies)
        for case, (text, ended) in zip(cases, replies):
            if "all" not in judge(case, text if ended else None):
                wrong.append({"setting": name, "row": case[0], "messages": case[1], "tools": case[2],
                              "expected": case[3], "reply": text, "ended": ended})
    print(f"{'row':<34} cases | greedy: tool   all  format | sampled: tool   all  format")
    total = collections.Counter()
    for row in tables["greedy"]:
        g, s = tables["greedy"][row], tables["sampled"][row]
        tool = lambda t: f"{100 * t['tool']:6.1f}" if t["tool"] else "     -"
        print(f"{row:<34} {g['cases']:>5} |       {tool(g)} {100 * g['all']:5.1f} {100 * g['format']:7.2f} "
              f"|        {tool(s)} {100 * s['all']:5.1f} {100 * s['format']:7.2f}")
        total["n"] += g["cases"]
        total["g"] += g["format"] * g["cases"]
        total["s"] += s["format"] * s["cases"]
    print(f"format over {total['n']} cases: greedy {100 * total['g'] / total['n']:.2f}, "
          f"sampled {100 * total['s'] / total['n']:.2f}; {time.time() - start:.0f} s")
    if a.out:
        with open(a.out, "w") as f:
            json.dump({"table": tables, "wrong": wrong}, f, ensure_ascii=False)


if __name__ == "__main__":
    main()
