"""The same cases through a running server: POST /v1/chat/completions, judged on what a client sees.

No torch, nothing but the standard library. Greedy requests ask for temperature 0; sampled ones send
no parameters, so they get the server's own defaults (those of generation_config.json).
"""
import concurrent.futures
import json
import time
import urllib.error
import urllib.request

from cases import fits, judge_parts

TAGS = ("<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>", "<invoke", "<parameter", "[e~[", "]~b]")


def wire_messages(messages):
    """Messages as a client sends them: arguments are JSON text, calls and results have ids."""
    out, open_ids, count = [], [], 0
    for m in messages:
        m = dict(m)
        if m.get("tool_calls"):
            calls, open_ids = [], []
            for c in m["tool_calls"]:
                count += 1
                open_ids.append(f"call_{count}")
                calls.append({"id": open_ids[-1], "type": "function", "function": {
                    "name": c["function"]["name"],
                    "arguments": json.dumps(c["function"]["arguments"], ensure_ascii=False)}})
            m["tool_calls"] = calls
        elif m["role"] == "tool":
            m["tool_call_id"] = open_ids.pop(0) if open_ids else "call_0"
        out.append(m)
    return out


class Server:
    def __init__(self, url, model, append_think, tokens):
        self.url, self.model, self.append_think, self.tokens = url.rstrip("/"), model, append_think, tokens

    def ask(self, case, temperature, seed):
        body = {"model": self.model, "messages": wire_messages(case[1]), "max_tokens": self.tokens}
        if case[2]:
            body["tools"] = case[2]
        if temperature == 0:
            body["temperature"] = 0
        else:
            body["seed"] = seed
        request = urllib.request.Request(self.url + "/chat/completions", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        while True:
            try:
                with urllib.request.urlopen(request, timeout=600) as reply:
                    return json.load(reply)["choices"][0]
            except urllib.error.HTTPError as error:
                if error.code != 503:  # the queue is full: the server says when to come back
                    raise
                time.sleep(min(60, int(error.headers.get("Retry-After") or 1)))

    def parts(self, choice):
        """(thought closed, content, calls) of a choice in either form of reasoning."""
        message = choice["message"]
        content, calls = message.get("content") or "", []
        for c in message.get("tool_calls") or []:
            calls.append((c["function"]["name"], json.loads(c["function"]["arguments"])))
        if self.append_think:
            thought, tag, content = content.partition("</think>")
            closed = thought.startswith("<think>") and tag != ""
        else:
            closed = bool(message.get("reasoning_content"))
        closed = closed and choice["finish_reason"] in ("stop", "tool_calls")
        return closed and not any(tag in content for tag in TAGS), content.strip("\n"), calls

    def judge(self, case, temperature, seed, until):
        """None once the time is over."""
        if time.time() > until:
            return None
        choice = self.ask(case, temperature, seed)
        closed, content, calls = self.parts(choice)
        known = {t["function"]["name"] for t in case[2] or []}
        right = all(fits(c, case[2]) for c in calls if c[0] in known)
        return judge_parts(case, closed, closed and right, content, calls), choice


def judge_all(server, cases, temperature, seed, parallel, order, until):
    """Verdicts of the cases, asked in this order."""
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        jobs = {i: pool.submit(server.judge, cases[i], temperature, seed * 100_000 + i, until) for i in order}
        return [jobs[i].result() for i in range(len(cases))]
