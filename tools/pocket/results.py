"""Results of tools and the answers that use them. An answer is a function of the result."""
from chat import dumps
from toolsets import capital, join


def shown(value):
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {shown(v)}" for k, v in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(shown(v) for v in value)
    if isinstance(value, list):
        return join([str(v) for v in value]) if value else "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _many(key, value):
    return isinstance(value, list) and key.endswith("s")


def ended(text):
    """Whole sentences end in a mark."""
    return text if text[-1] in ".!?" else text + "."


def has_keys(fields):
    return join([f"{k}" for k in fields])


def answer_of(result):
    """(thought, answer) for the text of one result."""
    if isinstance(result, dict):
        if "error" in result:
            return "The tool failed.", f"The tool failed: {result['error']}."
        if set(result) <= {"status", "success"} and result.get("status", True) in ("ok", "done", "success", True):
            return "The tool did it.", "It is done."
        parts = [f"the {k.replace('_', ' ')} {'are' if _many(k, v) else 'is'} {shown(v)}" for k, v in result.items()]
        return f"The result has {has_keys(result)}.", ended(capital(join(parts)))
    if isinstance(result, list):
        if not result:
            return "The result is empty.", "There are no results."
        return "The result is a list.", f"The results are {shown(result)}."
    if isinstance(result, str) and result.startswith("Error: "):
        return "The tool failed.", ended("The tool failed: " + result.removeprefix("Error: "))
    if isinstance(result, str) and result.lower().rstrip(".") in ("ok", "done", "success"):
        return "The tool did it.", "It is done."
    text = shown(result)
    return "The result is a value.", ended(f"The result is {text}")


class Results:
    def __init__(self, rng, words, values):
        self.rng, self.words, self.values = rng, words, values

    def value(self):
        v, r = self.values, self.rng
        return r.choice((v.integer, v.number, v.word, v.chars, v.id, v.name, v.phrase, v.word, v.time, v.boolean,
                         v.email, v.file, v.list))()

    def inner(self):
        """A value of several parts: an object, or a list of objects with the same keys."""
        r = self.rng
        keys = list(dict.fromkeys(self.field() for _ in range(r.choice((1, 2, 2, 3)))))

        def make():
            plain = self.values.word, self.values.integer
            return {k: self.value() if r.random() < 0.3 else r.choice(plain)() for k in keys}
        return make() if r.random() < 0.5 else [make() for _ in range(r.choice((1, 2, 2, 3)))]

    def field(self):
        r = self.rng
        return self.words.param() if r.random() < 0.8 else f"{self.words.any()}_{self.words.param()}"

    def error(self, plain):
        r, w = self.rng, self.words
        text = r.choice((f"{w.noun()} not found", "no permission", "timeout", f"unknown {w.param()}", f"invalid {w.param()}",
                         "file not found", f"{self.values.path()} does not exist", f"{w.any()}: command not found"))
        return "Error: " + text if plain else {"error": text}

    def make(self, tool, keep=None):
        """A result of this tool as a Python value. keep=(key, value) must be in it."""
        r = self.rng
        if keep:
            fields = [(self.field(), self.value()) for _ in range(r.choice((0, 1, 1, 2)))]
            fields.insert(r.randint(0, len(fields)), keep)
            return dict(fields)
        if r.random() < 0.07:
            return self.error(r.random() < (0.8 if tool.everyday and tool.family.kit else 0.15))
        if tool.everyday and tool.family.results and r.random() < 0.85:
            pairs = [(k, self.values.make(kind)) for k, kind in tool.family.results]
            return pairs[0][1] if len(pairs) == 1 and (not pairs[0][0] or r.random() < 0.35) else dict(pairs)
        kind = r.random()
        if tool.everyday and not tool.family.results:
            kind *= 0.5
        if kind < 0.3:
            return r.choice(({"status": "ok"}, {"status": "done"}, {"success": True}, "ok", "done", "Done.",
                             {"status": "success"}))
        if 0.3 < kind < 0.36:
            made = self.inner()
            return {self.field(): made} if isinstance(made, dict) or r.random() < 0.5 else made
        if kind < 0.8:
            return {self.field(): self.value() for _ in range(r.choice((1, 1, 2, 2, 3)))}
        if kind < 0.88:
            return [self.words.any() for _ in range(r.choice((0, 1, 2, 3, 4)))]
        return self.value()


def wire(result):
    """A result as the tool message carries it."""
    return result if isinstance(result, str) else dumps(result)
