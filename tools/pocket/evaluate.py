"""Prints the table of a checkpoint: held-out cases, greedy and at the default sampling.

Usage: evaluate.py --folder DIR [--count N] [--rows TEXT] [--out FILE] [--cpu]          in PyTorch
       evaluate.py --url http://HOST:PORT/v1 [--append-think] [--count N] [--out FILE]  through a server
"""
import argparse
import collections
import json
import time

from cases import ROWS, judge, make_cases
from chat import render_prompt
from served import Server, judge_all

REPLY_TOKENS = 320
BATCH_TOKENS = {"cuda": 700_000, "cpu": 4_000}


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


def in_torch(a, cases):
    """For each setting: (case, what is right in its reply, the reply) of every case."""
    import torch
    from encoder import Encoder
    from inference import Runner
    device, dtype = ("cpu", torch.float32) if a.cpu else ("cuda", torch.bfloat16)
    runner, encoder = Runner(a.folder, device, dtype), Encoder(a.folder)
    for name, temperature in a.settings:
        replies = run(runner, encoder, cases, temperature, tokens=a.reply_tokens)
        yield name, [(case, judge(case, text if ended else None), text) for case, (text, ended) in zip(cases, replies)]


def through_server(a, cases):
    server = Server(a.url, a.model, a.append_think, a.reply_tokens)
    order = sorted(range(len(cases)), key=lambda i: i % a.count)  # a case of every row in turn
    for name, temperature in a.settings:
        verdicts = judge_all(server, cases, temperature, 1, a.parallel, order, time.time() + a.seconds)
        yield name, [(case, *v) for case, v in zip(cases, verdicts) if v]


def table(verdicts):
    right, count = collections.defaultdict(collections.Counter), collections.Counter()
    for case, names, _ in verdicts:
        count[case[0]] += 1
        right[case[0]].update(names)
    return {row: {"cases": count[row], **{k: right[row][k] / count[row] for k in ("tool", "all", "closed", "format")}}
            for row in ROWS if count[row]}


def show(tables):
    print(f"{'row':<36} cases |" + " |".join(f" {name}: tool   all  closed   typed" for name in tables))
    total, rows = collections.Counter(), next(iter(tables.values()))
    for row in rows:
        line = f"{row:<36} {rows[row]['cases']:>5} |"
        total["cases"] += rows[row]["cases"]
        for name, t in tables.items():
            t = t[row]
            tool = f"{100 * t['tool']:6.1f}" if t["tool"] else "     -"
            line += (f"{'':>{len(name) - 4}}    {tool} {100 * t['all']:5.1f}  {100 * t['closed']:6.2f}  "
                     f"{100 * t['format']:6.2f} |")
            for k in ("closed", "format"):
                total[name, k] += t[k] * t["cases"]
        print(line)
    print(f"format over {total['cases']} cases: " + "; ".join(
        f"{name} closed {100 * total[name, 'closed'] / total['cases']:.2f}, "
        f"values typed too {100 * total[name, 'format'] / total['cases']:.2f}" for name in tables))


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("--folder")
    a.add_argument("--url")
    a.add_argument("--model", default="pocket", help="the name a server knows it by")
    a.add_argument("--append-think", action="store_true", help="the server leaves the thought in the content")
    a.add_argument("--parallel", type=int, default=8, help="requests at a time")
    a.add_argument("--count", type=int, default=500)
    a.add_argument("--seconds", type=float, default=1e9, help="through a server: ask no more after that")
    a.add_argument("--rows", help="only rows whose name holds this text")
    a.add_argument("--seed", type=int, default=2024)
    a.add_argument("--settings", default="greedy,sampled")
    a.add_argument("--out")
    a.add_argument("--cpu", action="store_true")
    a.add_argument("--reply-tokens", type=int, default=REPLY_TOKENS, help="fewer only for a smoke run")
    a = a.parse_args()
    a.settings = [(n, {"greedy": 0.0, "sampled": 1.0}[n]) for n in a.settings.split(",")]
    if bool(a.folder) == bool(a.url):
        raise SystemExit("give either --folder or --url")
    return a


def main():
    a = arguments()
    start = time.time()
    cases = make_cases(a.count, a.seed, a.rows)
    tables, wrong = {}, []
    for name, verdicts in (through_server if a.url else in_torch)(a, cases):
        tables[name] = table(verdicts)
        for case, names, reply in verdicts:
            if not {"all", "format"} <= names:
                wrong.append({"setting": name, "row": case[0], "messages": case[1], "tools": case[2],
                              "expected": case[3], "reply": reply, "right": sorted(names)})
    show(tables)
    print(f"{time.time() - start:.0f} s")
    if a.out:
        with open(a.out, "w") as f:
            json.dump({"table": tables, "wrong": wrong}, f, ensure_ascii=False)


if __name__ == "__main__":
    main()
