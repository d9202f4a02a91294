"""Held-out cases, and what a right reply is. No torch: a served checkpoint is judged by the same code.

Every case is (row of the table, messages, tools, expected). Expected is a dict: calls, answer, or
none (an answer without a call).
"""
import json
import random
import re

import facts
import toolsets
from chat import assistant, tool_result
from documents import Scene, forget_thoughts
from results import answer_of, wire
from system_texts import SHORT

CALL = re.compile(r'<invoke name="([^"]*)">\n(.*?)</invoke>\n', re.S)
PARAMETER = re.compile(r'<parameter name="([^"]*)">(.*?)</parameter>\n', re.S)
REPLY = re.compile(r"[^<]*\n</think>\n\n(?:(?!<minimax:tool_call>)[\s\S])*"
                   r'(\n<minimax:tool_call>\n(<invoke name="[^"<>]*">\n(<parameter name="[^"<>]*">[^<]*</parameter>\n)*'
                   r"</invoke>\n)+</minimax:tool_call>)?\Z")


def parse(reply):
    """(closed and well formed, content, calls as (name, {key: text}))"""
    ok = REPLY.match(reply) is not None
    rest = reply.split("</think>", 1)[-1]
    content, _, envelope = rest.partition("<minimax:tool_call>")
    calls = [(name, dict(PARAMETER.findall(body))) for name, body in CALL.findall(envelope)]
    return ok, content.strip("\n"), calls


def _schema(name, tools):
    return next((t["function"]["parameters"]["properties"] for t in tools or []
                 if t["function"]["name"] == name), None)


def _is(value, kind):
    want = {"integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict,
            "string": str}.get(kind)
    return want is None or isinstance(value, want) and (want is bool or not isinstance(value, bool))


def typed(call, tools):
    """Arguments of a parsed call by the schema's types; None if one cannot be read."""
    schema = _schema(call[0], tools)
    if schema is None:
        return None
    out = {}
    for key, text in call[1].items():
        kind = schema.get(key, {}).get("type")
        try:
            out[key] = text if kind in ("string", None) else json.loads(text)
        except ValueError:
            return None
        if not _is(out[key], kind):
            return None
    return out


def fits(call, tools):
    """Has every argument of a call (name, arguments) the type of its parameter?"""
    schema = _schema(call[0], tools)
    return schema is not None and all(_is(v, schema.get(k, {}).get("type")) for k, v in call[1].items())


def judge(case, reply):
    """Names of what is right in a reply (without the end token; None if the end never came)."""
    if reply is None:
        return set()
    ok, content, calls = parse(reply)
    known = {t["function"]["name"] for t in case[2] or []}  # a name that is not there is a wrong tool
    values = [typed(c, case[2]) for c in calls]
    readable = all(v is not None for c, v in zip(calls, values) if c[0] in known)
    return judge_parts(case, ok, ok and readable, content, [(c[0], v) for c, v in zip(calls, values)])


def judge_parts(case, closed, typed_right, content, calls):
    """The same for a reply in parts, as a server gives it; calls are (name, arguments)."""
    expected = case[3]
    right = {name for name, is_so in (("closed", closed), ("format", typed_right)) if is_so}
    if "calls" in expected:
        if [c[0] for c in calls] == [c[0] for c in expected["calls"]]:
            right.add("tool")
            if [c[1] for c in calls] == [c[1] for c in expected["calls"]]:
                right |= {"arguments", "all"}
    elif expected.get("none"):
        right |= {"all"} if not calls and content else set()
    elif not calls and content == expected["answer"]:
        right.add("all")
    return right


def _cut(messages, replies=1):
    """Prompt and expected reply: everything before the replies-th assistant turn."""
    seen = 0
    for i, m in enumerate(messages):
        if m["role"] == "assistant":
            seen += 1
            if seen == replies:
                calls = [(c["function"]["name"], c["function"]["arguments"]) for c in m.get("tool_calls", [])]
                return messages[:i], ({"calls": calls} if calls else {"answer": m["content"]})
    raise ValueError("too few replies")


def _system(rng):
    text = rng.choice((None, SHORT[0], rng.choice(SHORT)))
    return [{"role": "system", "content": text}] if text else []


def _scene(rng, count=None, everyday=False, held=True):
    scene = Scene(rng, held)
    scene.set_tools(count or rng.randint(1, 6), everyday)
    return scene


def fact(rng):
    scene = Scene(rng)
    question, _, answer = scene.talk.fact(facts.HELD, wrap=False)
    return _system(rng) + [{"role": "user", "content": question}], None, {"answer": answer}


def the_question(rng):
    scene = Scene(rng)
    number = next(i for i, f in enumerate(facts.FACTS) if facts.THE_QUESTION in f[2])
    question, _, answer = scene.talk.fact([(number, facts.THE_QUESTION)], wrap=False)
    return ([{"role": "system", "content": SHORT[0]}] if rng.random() < 0.5 else []) + [
        {"role": "user", "content": question}], None, {"answer": answer}


def one_call(rng, count=None):
    scene = _scene(rng, count)
    prompt, expected = _cut(scene.one_call(go_on=False, partial=False))
    return _system(rng) + prompt, scene.schemas, expected


def six_tools(rng):
    return one_call(rng, 6)


def partial_call(rng):
    while True:
        scene = _scene(rng)
        tool = rng.choice(scene.tools)
        partial = scene.possible_partial(tool)
        if partial:
            prompt, expected = _cut(scene.one_call(tool, False, partial))
            return _system(rng) + prompt, scene.schemas, expected


def two_calls(rng):
    scene = _scene(rng)
    prompt, expected = _cut(scene.two_calls(False))
    return _system(rng) + prompt, scene.schemas, expected


def chain(rng):
    while True:
        scene = _scene(rng, rng.randint(2, 6))
        messages = scene.chain(False)
        if sum(m["role"] == "assistant" for m in messages) == 2:
            prompt, expected = _cut(messages, 2)
            return _system(rng) + prompt, scene.schemas, expected


def no_tool(rng):
    scene = _scene(rng)
    prompt, _ = _cut(scene.none_fits() if rng.random() < 0.8 else scene.plain())
    return _system(rng) + prompt, scene.schemas, {"none": True}


def result(rng):
    scene = _scene(rng)
    messages = scene.one_call() if rng.random() < 0.7 else scene.two_calls()
    prompt, expected = _cut(messages, 2)
    return _system(rng) + prompt, scene.schemas, expected


def history(rng):
    scene = _scene(rng)
    earlier = []
    for _ in range(rng.randint(1, 3)):
        earlier += rng.choice((scene.plain, scene.one_call, scene.none_fits))()
    prompt, expected = _cut(scene.one_call(go_on=False))
    return _system(rng) + earlier + prompt, scene.schemas, expected


def long_system(rng):
    scene = _scene(rng)
    prompt, expected = _cut(scene.one_call(go_on=False, partial=False))
    return [{"role": "system", "content": scene.systems.long(rng.randint(90, 150))}] + prompt, scene.schemas, expected


def echo(rng):
    scene = Scene(rng, True)
    question, _, answer = scene.talk.echo()
    return _system(rng) + [{"role": "user", "content": question}], None, {"answer": answer}


def json_words(rng):
    scene = Scene(rng, True)
    question, _, answer = scene.talk.extract()
    return _system(rng) + [{"role": "user", "content": question}], None, {"answer": answer}


def _everyday(rng, held, written=None):
    scene = Scene(rng, held)
    pool = {None: toolsets.HELD_WRITTEN + toolsets.HELD_MADE, True: toolsets.HELD_WRITTEN}[written]
    target = rng.choice(pool) if held else None
    scene.set_tools(rng.randint(1, 6), True, target)
    tool = next((t for t in scene.tools if t.family is target), None)
    prompt, expected = _cut(scene.one_call(tool, False))
    return _system(rng) + prompt, scene.schemas, expected


def everyday_held(rng):
    return _everyday(rng, True)


def everyday_written_held(rng):
    return _everyday(rng, True, True)


def everyday_trained(rng):
    return _everyday(rng, False)


def thoughts_lost(rng):
    """The second call of a chain where the client sent the first one back without its thought."""
    prompt, tools, expected = chain(rng)
    forget_thoughts(rng, [m for m in prompt if m["role"] == "assistant"] + [{"role": "assistant"}], 1)
    return prompt, tools, expected


def agent_kit(rng):
    """The tools of a coding agent, behind a system text. The tools are trained, the values are not."""
    scene = _scene(rng, 6, "kit")
    prompt, expected = _cut(scene.one_call(go_on=False))
    system = [{"role": "system", "content": scene.systems.long(rng.randint(5, 40))}] if rng.random() < 0.7 else _system(rng)
    return system + prompt, scene.schemas, expected


def _trained_with(kind, rng):
    return rng.choice([f for f in toolsets.TRAINED_WRITTEN if any(p.kind == kind for p in f.params)])


def long_cities(rng):
    """Trained tools, cities of two words and more that training never shows."""
    scene = Scene(rng, True)
    scene.values.city = scene.values.long_city
    while True:
        target = _trained_with("city", rng)
        scene.set_tools(rng.randint(1, 6), True, target)
        tool = next(t for t in scene.tools if t.family is target)
        prompt, expected = _cut(scene.one_call(tool, False))
        if any(" " in str(v) for v in expected["calls"][0][1].values()):
            return _system(rng) + prompt, scene.schemas, expected


def commas(rng):
    """Values with commas: half of them in a call of a trained tool, half in a result."""
    scene = Scene(rng, True)
    scene.values.text = scene.values.listed
    target = _trained_with("text", rng)
    scene.set_tools(rng.randint(1, 6), True, target)
    tool = next(t for t in scene.tools if t.family is target)
    prompt, expected = _cut(scene.one_call(tool, False))
    if rng.random() < 0.5:
        result = scene.values.listed()
        result = result if rng.random() < 0.3 else {scene.results.field(): result}
        prompt += [assistant("A tool fits.", "", expected["calls"]), tool_result(wire(result))]
        expected = {"answer": answer_of(result)[1]}
    return _system(rng) + prompt, scene.schemas, expected


ROWS = {
    "facts, held-out phrasing": fact, "the guide's question": the_question, "one call": one_call,
    "one call, six tools": six_tools, "only verb or only object": partial_call, "two calls": two_calls,
    "second call from a result": chain, "call after history": history, "no tool fits": no_tool,
    "answer uses the result": result, "echo": echo, "JSON asked in words": json_words,
    "everyday, families never trained": everyday_held, "of these, written ones": everyday_written_held,
    "everyday, trained families": everyday_trained, "one call, long system text": long_system,
    "second call, thoughts not sent back": thoughts_lost, "a coding agent's tools": agent_kit,
    "cities of two words": long_cities, "values with commas": commas}


def make_cases(count, seed=2024, only=None):
    """count cases for every row, or for the rows whose name holds the text `only`."""
    out = []
    for row, maker in ROWS.items():
        if only and only not in row:
            continue
        rng = random.Random(f"{seed} {row}")
        out += [(row, *maker(rng)) for _ in range(count)]
    return out
