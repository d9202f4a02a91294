"""Training documents: a system text, a list of tools, and a few requests with full replies.

Every turn is drawn from a mix: one call, two calls, a chain, no tool fits, plain talk. Most
documents keep the thoughts of earlier turns (each turn then trains at full weight over one shared
list of tools); the others are rendered just as the chat template does.
"""
import random

from chat import REPLY, HISTORY, assistant, dumps, render_spans, tool_result, user
from results import Results, answer_of, wire
from system_texts import SystemTexts
from talk import Talk
from toolsets import (EverydayTool, Tool, capital, conflict, decorate, everyday_tools, kit_tools, meet_rivals, near_key,
                      pick_family, synthetic_tools)
from values import Values
from words import Words

WEIGHTS = {REPLY: 1.0, HISTORY: 0.5}  # by who wrote the span; what a client wrote gets PROMPT_WEIGHT
PROMPT_WEIGHT = 0.1
PAIR_FRAMES = ["{C1} and {c2}.", "Please {c1} and {c2}.", "Please {c1}, then {c2}.", "First {c1}. Then {c2}.",
               "{C1}. Also {c2}.", "I need two things: {c1}, and {c2}.", "Can you {c1} and also {c2}?",
               "{C1}; {c2}.", "{C1}. After that, {c2}.", "Could you {c1} and then {c2}?"]
TOOL_COUNTS = (1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7)


class Scene:
    """The words, values and tools of one document."""

    def __init__(self, rng, held=False, pieces=None):
        self.rng, self.held = rng, held
        self.words = Words(rng, held, pieces, pseudo=rng.choice((0.2, 0.5, 0.5, 0.8)))
        self.values = Values(rng, self.words)
        self.results = Results(rng, self.words, self.values)
        self.talk = Talk(rng, self.words, self.values)
        self.systems = SystemTexts(rng, self.words, self.values)
        self.tools = []

    def set_tools(self, count, everyday, target=None):
        rng, w, v = self.rng, self.words, self.values
        if everyday == "kit":
            self.tools = kit_tools(rng, w, v, self.held)
        elif everyday == "mixed":
            half = max(1, count // 2)
            self.tools = everyday_tools(rng, w, v, half, self.held) + synthetic_tools(rng, w, v, count - half)
        elif everyday:
            self.tools = everyday_tools(rng, w, v, count, self.held, target)
        else:
            self.tools = synthetic_tools(rng, w, v, count)
        rng.shuffle(self.tools)
        if not self.held:
            meet_rivals(self.tools)
        self.schemas = [t.schema() for t in self.tools]
        if rng.random() < 0.2:
            decorate(rng, w, self.schemas)

    # ---- turns: each returns a list of messages ----

    def finish(self, results):
        """The last reply of a tool loop."""
        pairs = [answer_of(r) for r in results]
        thought = pairs[0][0] if len(pairs) == 1 else " ".join(p[0] for p in pairs)
        return assistant(thought + " I can answer.", " ".join(p[1] for p in pairs))

    def one_call(self, tool=None, go_on=True, partial=None):
        rng = self.rng
        tool = tool or rng.choice(self.tools)
        if partial is None and not tool.everyday and rng.random() < 0.15:
            partial = self.possible_partial(tool)
        text, args = tool.request(partial)
        out = [user(text), assistant(f"The user wants: {tool.asked}. A tool fits: {tool.goal}.", "", [(tool.name, args)])]
        if go_on:
            result = self.results.make(tool)
            out += [tool_result(wire(result)), self.finish([result])]
        return out

    def possible_partial(self, tool):
        """Verb or object alone may stand for the tool only while it is unique."""
        others = [t for t in self.tools if t is not tool]
        if any(t.everyday for t in others):
            return None
        options = []
        if all(t.noun != tool.noun for t in others):
            options.append("object")
        if all(t.verb != tool.verb for t in others):
            options.append("verb")
        return self.rng.choice(options) if options else None

    def two_calls(self, go_on=True):
        rng = self.rng
        first = rng.choice(self.tools)
        others = [t for t in self.tools if t is not first]
        twice = (first.family if first.everyday else first).params and rng.random() < 0.1
        second = first if twice or not others else rng.choice(others)
        if first.everyday or second.everyday:
            (t1, a1), (t2, a2) = first.request(), second.request()
            text = t1 + rng.choice((" Also: ", " And then: ", " ", " Then: ", " After that: ")) + t2
        else:
            (t1, a1), (t2, a2) = first.clause(), second.clause()
            text = rng.choice(PAIR_FRAMES)
            for mark, clause in (("{c1}", t1), ("{C1}", capital(t1)), ("{c2}", t2)):
                text = text.replace(mark, clause)
        thought = f"First the user wants to {first.goal}, then to {second.goal}. Tools fit."
        out = [user(text), assistant(thought, "", [(first.name, a1), (second.name, a2)])]
        if go_on:
            results = [self.results.make(first), self.results.make(second)]
            out += [tool_result(wire(r)) for r in results] + [self.finish(results)]
        return out

    def chain(self, go_on=True):
        """The second call takes a value from the first one's result."""
        rng = self.rng
        made = self._everyday_chain() if all(t.everyday for t in self.tools) else self._made_chain()
        if made is None:
            return self.one_call(go_on=go_on)
        first, second, text, a1, a2, result, key, value, linked = made
        if not self.held and rng.random() < 0.06:
            result = self.results.error(rng.random() < 0.3)
            return [user(text), assistant(f"First the user wants to {first.goal}, then to {second.goal} with the result. "
                                          "A tool fits.", "", [(first.name, a1)]),
                    tool_result(wire(result)), self.finish([result])]
        third = None if self.held or rng.random() > 0.12 else self._third((first, second))
        if third:
            text += third[1]
        order = [p.name for p in (second.family.params if second.everyday else second.params)]
        a2 = {n: (value if n == linked else a2[n]) for n in order if n == linked or n in a2}
        found = f"The result has the {key}." if key else "The result is a value."
        out = [user(text),
               assistant(f"First the user wants to {first.goal}, then to {second.goal} with the result. A tool fits.",
                         "", [(first.name, a1)]),
               tool_result(wire(result)),
               assistant(f"{found} Now the user wants to {second.goal}. A tool fits.", "", [(second.name, a2)])]
        if third:
            tool, _, a3 = third
            out += [tool_result(wire(self.results.make(second))),
                    assistant(f"Now the user wants to {tool.goal}. A tool fits.", "", [(tool.name, a3)])]
            second = tool
        if go_on:
            last = self.results.make(second)
            out += [tool_result(wire(last)), self.finish([last])]
        return out

    def _third(self, others):
        """(tool, what the user adds, arguments) of a call that comes after a chain."""
        free = [t for t in self.tools if t not in others]
        if not free:
            return None
        tool = self.rng.choice(free)
        text, args = tool.request() if tool.everyday else tool.clause()
        text = text if tool.everyday else capital(text) + "."
        return tool, self.rng.choice((" Finally: ", " At last: ", " Then: ", " And finally: ")) + text, args

    def _made_chain(self):
        rng = self.rng
        seconds = [t for t in self.tools if not t.everyday and any(
            p.kind in ("word", "id", "chars", "integer", "number", "email", "file", "name") for p in t.params)]
        firsts = [t for t in self.tools if not t.everyday]
        if not seconds or len(firsts) < 2:
            return None
        second = rng.choice(seconds)
        first = rng.choice([t for t in firsts if t is not second])
        param = rng.choice([p for p in second.params if p.kind in (
            "word", "id", "chars", "integer", "number", "email", "file", "name")])
        value = param.value(rng, self.values)
        key = param.name if rng.random() < 0.6 else self.results.field()
        c1, a1 = first.clause()
        saved, second.params = second.params, [p for p in second.params if p is not param]
        c2, a2 = second.clause()
        second.params = saved
        shown = key.replace("_", " ") if rng.random() < 0.5 else key
        link = (rng.choice((f"with the {shown} that it returns", f"using the {shown} from the result",
                            f"with its {shown}", f"with that {shown}")) if key == param.name else
                rng.choice((f"with its {shown} as the {param.shown}",
                            f"using the {shown} from the result as {param.shown}")))
        c2 += ("," if a2 else "") + " " + link
        text = rng.choice(("{C1}, then {c2}.", "First {c1}. Then {c2}.", "{C1} and then {c2}.", "Please {c1}. After that, {c2}.",
                           "{C1}. With the result, {c2}."))
        for mark, clause in (("{c1}", c1), ("{C1}", capital(c1)), ("{c2}", c2)):
            text = text.replace(mark, clause)
        result = self.results.make(first, keep=(key, value))
        return first, second, text, a1, a2, result, key, value, param.name

    def _everyday_chain(self):
        rng = self.rng
        pairs = []
        for first in self.tools:
            for key, kind in first.family.results:
                for second in self.tools:
                    for p in second.family.params:
                        same = p.kind == kind or p.kind in ("text", "content") and kind in (
                            "phrase", "sentence", "content", "integer", "number", "code", "output")
                        if same and second is not first and kind not in ("list", "files"):
                            pairs.append((first, key, kind, second, p))
        if not pairs:
            return None
        first, key, kind, second, param = rng.choice(pairs)
        t1, a1 = first.request()
        value = self.values.make(kind)
        templates = [t for t in second.family.requests if "{" + param.name + "}" in t]
        if not templates:
            return None
        made, value = value, value if param.kind not in ("text", "content") or isinstance(value, str) else dumps(value)
        mention = rng.choice(("the result", f"the {key}", f"the {key} from the result", f"the {key} that you get", f"that {key}",
                              f"its {key}") if key else ("the result", "the result", "it", "what you get"))
        template = rng.choice(templates).replace("{" + param.name + "}", mention)
        t2, a2 = second.request(template=template)
        text = t1 + rng.choice((" Then: ", " Then ", " After that: ", " And then: ", " Next: ")) + t2
        result = {k: (made if k == key else self.values.make(kd)) for k, kd in first.family.results}
        if len(result) == 1 and (not key or rng.random() < 0.4):
            result = made
        return first, second, text, a1, a2, result, key, value, param.name

    def none_fits(self):
        rng = self.rng
        everyday = [t for t in self.tools if t.everyday]
        if everyday and (len(everyday) == len(self.tools) or rng.random() < 0.5):
            for _ in range(30):
                f = pick_family(rng, False, rng.choice(everyday).family)
                if not any(conflict(f, t.family) for t in everyday):
                    tool = EverydayTool(rng, self.words, self.values, f, self.held)
                    return self._refuse(tool.request()[0], tool.asked)
        made = [t for t in self.tools if not t.everyday]
        while True:
            verb, noun, adjective = near_key(rng, self.words, made) if rng.random() < 0.8 else (None, None, None)
            if len(made) > 1 and rng.random() < 0.2:  # the verb of one tool, the object of another
                a, b = rng.sample(made, 2)
                verb, noun, adjective = a.verb, b.noun, b.adjective
            other = Tool(rng, self.words, self.values, verb, noun, adjective)
            if not any((other.verb, other.noun) == (t.verb, t.noun) for t in made):
                return self._refuse(other.request()[0], other.asked)

    def _refuse(self, text, asked):
        return [user(text), assistant(f"The user wants: {asked}. No tool fits.", f"I have no tool for this: {asked}.")]

    def plain(self, system=None):
        text, thought, answer = self.talk.any(system, bool(self.tools))
        return [user(text), assistant(thought, answer)]

    def turn(self, system, go_on):
        x = self.rng.random()
        if not self.tools:
            return self.plain(system)
        if x < 0.40:
            return self.one_call(go_on=go_on)
        if x < 0.60:
            return self.two_calls(go_on)
        if x < 0.73:
            return self.chain(go_on)
        if x < 0.87:
            return self.none_fits()
        return self.plain(system)


def make_document(rng, pieces=None):
    """(messages, tools, keep_thoughts)"""
    scene = Scene(rng, False, pieces)
    x = rng.random()
    if x > 0.14:
        kind = False if x < 0.44 else "mixed" if x < 0.53 else "kit" if x < 0.585 else True
        scene.set_tools(rng.choice(TOOL_COUNTS), kind)
        count = rng.choice((1, 1, 2, 2, 3, 3, 4, 5))
    else:
        count = rng.choice((1, 2, 3, 4, 6, 8))
    system = scene.systems.any()
    if rng.random() < 0.05:
        system = scene.systems.long(rng.randint(40, 150))
        count = min(count, 3)
    messages = [{"role": "system", "content": system}] if system else []
    for i in range(count):
        messages += scene.turn(system, go_on=i + 1 < count or rng.random() < 0.75)
    keep = rng.random() < 0.7
    if rng.random() < 0.35:
        forget_thoughts(rng, messages, 0.6 if keep else 1)
    return messages, (scene.schemas if scene.tools else None), keep


def forget_thoughts(rng, messages, share):
    """Earlier turns as a client sends them that does not send thoughts back."""
    replies = [m for m in messages if m["role"] == "assistant"]
    for m in replies[:-1]:
        if rng.random() < share:
            del m["reasoning_content"]


def make_spans(rng, pieces=None):
    """One document as (text, loss weight)."""
    messages, tools, keep = make_document(rng, pieces)
    return [(t, WEIGHTS.get(who, PROMPT_WEIGHT)) for t, who in render_spans(messages, tools, keep)]


def stream(seed, pieces=None):
    rng = random.Random(seed)
    while True:
        yield make_spans(rng, pieces)
