"""Tools as a request shows them, and the sentences that ask for them.

A reply must be a function of its prompt: wherever a request could be read in two ways (two
strings without keys, unquoted values of several words), sampling at temperature 1 would turn the
doubt into errors. So values of several words are quoted and a value without key is of a kind that
only one parameter takes.
"""
import collections
import re

import agents
import changes
import families
from chat import dumps
from conflicts import conflict
from phrasings import bend

KINDS = (["text"] * 4 + ["word"] * 3 + ["name", "email", "file", "id", "chars", "date", "time", "city", "url"]
         + ["integer"] * 4 + ["number"] * 2 + ["boolean"] * 2 + ["enum"] * 3 + ["list"] * 2 + ["object"] * 2)
UNKEYED = {"email": ["for {v}", "to {v}"], "file": ["for {v}", "in {v}"], "url": ["at {v}"], "date": ["on {v}"],
           "time": ["at {v}"], "text": ["{v}", "called {v}", "for {v}"], "city": ["in {v}"]}


def quoted(rng, text):
    x = rng.random()
    if x < 0.08 and "'" not in text:
        return f"'{text}'"
    return f"`{text}`" if x > 0.97 else f'"{text}"'


def shown_code(rng, text, last):
    """Commands and patterns: in back-quotes, in quotes, or bare where it is plain where they end."""
    x = rng.random()
    if x < 0.35 and text[-1] != "." and (last or " " not in text):
        return text
    return f'"{text}"' if x > 0.7 else f"`{text}`"


def join(parts, word="and"):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" {word} " + parts[-1]


def capital(text):
    return text[0].upper() + text[1:]


class Param:
    def __init__(self, name, kind, rng, words, required, depth=0):
        self.name, self.kind, self.required = name, kind, required
        self.shown = name.replace("_", " ") if rng.random() < 0.5 else name
        self.enum = self.fields = None
        if kind == "enum":
            self.enum = list(dict.fromkeys(words.any() for _ in range(rng.choice((2, 3, 3, 4)))))
        if kind == "object":
            names = list(dict.fromkeys(words.param() for _ in range(rng.choice((1, 2, 2, 3)))))
            self.fields = [Param(n, rng.choice(("word", "integer", "word", "number", "text", "boolean")), rng, words,
                                 True) for n in names]
        r = rng.random()
        self.description = (f"The {self.shown}" if r < 0.25 else f"{capital(self.shown)} of the {words.noun()}"
                            if r < 0.35 else None)

    def schema(self):
        kind = self.kind
        out = {"type": {"integer": "integer", "count": "integer", "number": "number", "boolean": "boolean",
                        "list": "array", "object": "object"}.get(kind, "string")}
        if self.description:
            out["description"] = self.description
        if self.enum:
            out["enum"] = self.enum
        if kind == "list":
            out["items"] = {"type": "string"}
        if self.fields:
            out["properties"] = {f.name: f.schema() for f in self.fields}
        return out

    def value(self, rng, values):
        if self.enum:
            return rng.choice(self.enum)
        if self.fields:
            return {f.name: f.value(rng, values) for f in self.fields}
        return values.make(self.kind)

    def mention(self, rng, value, alone, last):
        """How a user states this value. alone: no other parameter of the kind is in the tool."""
        k = self.shown
        if self.kind == "boolean":
            on, off = rng.choice((("on", "off"), ("true", "false"), ("yes", "no"), ("true", "false")))
            v = on if value else off
        elif self.kind == "list":
            items = [quoted(rng, i) for i in value] if rng.random() < 0.3 else value
            v = join(items) if last else "[" + ", ".join(items) + "]"
            return rng.choice((f"{k} {v}", f"the {k} {v}"))
        elif self.kind == "object":
            inner = [f.mention(rng, value[f.name], False, False) for f in self.fields]
            return f"{k} with {join(inner)}" if last else f"{k} ({', '.join(inner)})"
        elif self.kind in families.QUOTED:
            v = quoted(rng, value)
        else:
            v = dumps(value) if not isinstance(value, str) else value
        if alone and self.kind in UNKEYED and rng.random() < 0.5:
            return rng.choice(UNKEYED[self.kind]).replace("{v}", v)
        return rng.choice(("{k} {v}", "{k} {v}", "{k} {v}", "{k}: {v}", "{k} = {v}", "{k} set to {v}", "the {k} {v}",
                           "a {k} of {v}")).replace("{k}", k).replace("{v}", v)


class Tool:
    """A tool of invented purpose: a verb, perhaps an adjective, and an object."""
    everyday = False

    def __init__(self, rng, words, values, verb=None, noun=None, adjective=None):
        self.rng, self.words, self.values = rng, words, values
        self.verb, self.noun = verb or words.verb(), noun or words.noun()
        self.adjective = adjective or (words.adjective() if rng.random() < 0.12 else None)
        self.object = f"{self.adjective} {self.noun}" if self.adjective else self.noun
        self.goal = f"{self.verb} the {self.object}"
        count = rng.choice((0, 1, 1, 1, 2, 2, 2, 3, 3, 4))
        names = list(dict.fromkeys(words.param() for _ in range(count)))
        self.params = [Param(n, rng.choice(KINDS), rng, words, rng.random() < 0.65) for n in names]
        self.opaque = rng.random() < 0.1
        self.name = self._name()
        self.described = self.opaque or rng.random() < 0.95
        self.key = (self.verb, self.object)

    def _name(self):
        r, v, n = self.rng, self.verb, self.noun
        if self.opaque:
            return r.choice((f"tool_{r.randint(1, 99)}", self.words.pseudo(), f"fn_{self.values.chars()}"))
        parts = [v, n] if not self.adjective else [v, self.adjective, n]
        style = r.random()
        if style < 0.65:
            return "_".join(parts)
        if style < 0.77:
            return v + "".join(capital(p) for p in parts[1:])
        if style < 0.87:
            return "-".join(parts)
        if style < 0.95:
            return "_".join(parts[1:] + [v])
        return "".join(capital(p) for p in parts)

    def schema(self):
        r, goal, o = self.rng, self.goal, self.object
        out = {"name": self.name}
        if self.described:
            out["description"] = r.choice((f"{capital(goal)}.", f"{capital(goal)}", f"{capital(self.verb)} a {o}.",
                                           f"Use this to {goal}.", f"Tool to {self.verb} a {o}.",
                                           f"{capital(self.verb)} one {o} of the user."))
        out["parameters"] = {"type": "object", "properties": {p.name: p.schema() for p in self.params},
                             "required": [p.name for p in self.params if p.required]}
        if not out["parameters"]["required"] and r.random() < 0.7:
            del out["parameters"]["required"]
        return {"type": "function", "function": out}

    def arguments(self, forced=None):
        """(arguments in schema order, phrase that states them). forced: {name: None} are left to
        the caller to state."""
        rng = self.rng
        chosen = [p for p in self.params if p.required or rng.random() < 0.45]
        args = {p.name: p.value(rng, self.values) for p in chosen if not (forced and p.name in forced)}
        stated = [p for p in chosen if p.name in args]
        rng.shuffle(stated)
        kinds = [p.kind for p in self.params]
        parts = [p.mention(rng, args[p.name], kinds.count(p.kind) == 1, i + 1 == len(stated))
                 for i, p in enumerate(stated)]
        if not parts:
            return args, ""
        alone = stated[0].kind in UNKEYED and parts[0].split()[0] in ("for", "to", "in", "at", "on", "called")
        lead = "" if alone or parts[0].startswith('"') else rng.choice(("with ", "with ", "with ", "using ", ": ", ""))
        text = lead + (join(parts) if rng.random() < 0.75 else ", ".join(parts))
        return args, ("" if lead == ": " else " ") + text

    def clause(self, partial=None, forced=None):
        args, stated = self.arguments(forced)
        article = self.rng.choice(("the", "the", "the", "a", "my", "this"))
        if partial == "object":
            start = self.rng.choice((f"do it for {article} {self.object}", f"take care of {article} {self.object}",
                                     f"deal with {article} {self.object}"))
        elif partial == "verb":
            start = self.rng.choice((f"{self.verb} it", f"{self.verb} that one", f"{self.verb} this for me"))
        else:
            start = f"{self.verb} {article} {self.object}"
        return start + stated, args

    def request(self, partial=None):
        text, args = self.clause(partial)
        self.asked = {"object": self.object, "verb": self.verb}.get(partial, f"{self.verb} {self.object}")
        return self.rng.choice(FRAMES).replace("{c}", text).replace("{C}", capital(text)), args


FRAMES = ["Please {c}.", "{C}.", "{C}.", "Can you {c}?", "Could you {c}?", "I want you to {c}.", "I need you to {c}.",
          "{C}, please.", "Go ahead and {c}.", "It is time to {c}.", "I would like to {c}.", "Would you {c}?",
          "Help me {c}.", "Now {c}.", "I have to {c}.", "We should {c}."]


class EverydayTool:
    """A family of families.py in one of several spellings."""
    everyday = True

    rivals = None  # words of the other tools, set for the tools of training

    def __init__(self, rng, words, values, family, fixed=True, changed=0.6):
        if not fixed and rng.random() < changed:
            other = changes.vary(family, rng, lambda: words.noun() if rng.random() < 0.8 else words.verb())
            family = family if other.name in HELD_NAMES else other
        if not fixed and rng.random() < changed * 0.6:
            other = changes.respell(family, rng)
            family = family if other.name in HELD_NAMES else other
        self.rng, self.words, self.values, self.family = rng, words, values, family
        self.name = family.name
        if not fixed and rng.random() < 0.06:  # a name is copied as it is, also where the request says "faces"
            other = self.name[:-1] if self.name[-1] == "s" else self.name + "s"
            self.name = other if other not in HELD_NAMES else self.name
        style = rng.random() if not family.kit else 1
        if style < 0.2:
            first, *rest = self.name.split("_")
            self.name = first + "".join(capital(p) for p in rest)
        elif style < 0.35:
            self.name = self.name.replace("_", "-")
        self.goal = family.description[0].lower() + family.description[1:]
        self.key = self.name

    def schema(self):
        f, r = self.family, self.rng
        properties = {}
        for p in f.params:
            s = p.schema()
            texts = agents.PARAM_TEXTS.get(p.name) if f.kit or r.random() < 0.2 else None
            if texts and r.random() < 0.8:
                s = {"type": s.pop("type"), "description": r.choice(texts.split("|")), **s}
            elif r.random() < 0.3:
                s = {"type": s.pop("type"), "description": f"The {p.name.replace('_', ' ')}", **s}
            properties[p.name] = s
        parameters = {"type": "object", "properties": properties, "required": [p.name for p in f.params if not p.optional]}
        description = f.description + ("." if r.random() < 0.6 else "")
        if f.kit:  # such clients describe at length
            lines = r.sample(agents.ADVICE, r.choice((0, 1, 2, 4, 6)))
            glue = r.choice((" ", "\n", "\n- "))
            description = f.description + "." + "".join(glue + line for line in lines)
            if r.random() < 0.3:
                parameters |= {"additionalProperties": False, "$schema": "http://json-schema.org/draft-07/schema#"}
        return {"type": "function", "function": {"name": self.name, "description": description,
                                                 "parameters": parameters}}

    def _key_words(self):
        """A request of key words and values alone; any word of the tool that no other tool has will do."""
        f, rng = self.family, self.rng
        own = [w for w in words_of_tool(self) - (self.rivals or set()) if all(w not in p.name for p in f.params)]
        if not own:
            return None
        own.sort()
        rng.shuffle(own)
        text, kinds, parts = " ".join(own[:rng.choice((1, 1, 2, 3))]), [p.kind for p in f.params], []
        for p in f.params:
            if p.optional and rng.random() < 0.7:
                continue
            bare = kinds.count(p.kind) == 1 and (p.enum or p.kind in ALONE or p.kind in families.QUOTED)
            parts.append("{%s}" % p.name if bare and rng.random() < 0.7 else "%s {%s}" % (p.name.replace("_", " "), p.name))
        rng.shuffle(parts)
        text += rng.choice((" ", " ", ": ", ", ", " for ")) if parts else ""
        text += rng.choice((", ", ", ", " and ", " ")).join(parts)
        return (capital(text) if rng.random() < 0.6 else text) + rng.choice((".", ".", ", please.", "", "?"))

    def request(self, partial=None, template=None):
        f, rng = self.family, self.rng
        text = template or rng.choice(f.requests)
        if not template and self.rivals is not None and rng.random() < 0.1:
            text = self._key_words() or text
        self.asked = " ".join(changes.content_words(text))
        text = bend(text, rng)
        args = {}
        for p in f.params:
            if "{" + p.name + "}" not in text:
                continue
            value = rng.choice(p.enum) if p.enum else self.values.make(p.kind)
            shown, last = value, text.endswith("{" + p.name + "}.")
            if p.kind in families.QUOTED:
                if not (last and self.rivals is not None and rng.random() < 0.15 and value[-1].isalnum()
                        and not set(value) & set("\n\"'`:")):
                    shown = quoted(rng, value)
            elif p.kind in families.CODE:
                shown = shown_code(rng, value, last)
            elif p.kind in ("list", "files"):
                shown = join(value)
            elif not isinstance(value, str):
                shown = dumps(value)
            args[p.name] = value
            text = text.replace("{" + p.name + "}", shown, 1)
        r = rng.random()
        if r < 0.08:
            text = "Please help me. " + text
        elif r < 0.14:
            text = rng.choice(("Hi! ", "Hello. ", "Hey, one thing. ")) + text
        elif r < 0.2:
            text += rng.choice((" Thanks.", " Thank you!"))
        return text, args


ALONE = ("city", "date", "time", "email", "file", "url", "phone", "path", "dir", "list")  # known by their form


def words_of_tool(tool):
    """The words that a tool is known by."""
    if not tool.everyday:
        return {w.lower() for w in (tool.verb, tool.noun, tool.adjective) if w}
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", tool.name) + " " + tool.family.description
    words = {w.lower() for w in re.findall("[A-Za-z]+", text)}
    return {w for w in words if w not in changes.STOP and len(w) > 2}


def meet_rivals(tools):
    """Tells every everyday tool of training which words it shares with the others."""
    words = [{w.rstrip("s") for w in words_of_tool(t)} for t in tools]
    for i, t in enumerate(tools):
        if t.everyday:
            others = set().union(*words[:i], *words[i + 1:])
            t.rivals = {w for w in words_of_tool(t) if w.rstrip("s") in others}


HELD_NAMES = {f.name for f in families.HELD}
TRAINED_WRITTEN = [f for f in families.TRAINED if f.action is None]
TRAINED_MADE = [f for f in families.TRAINED if f.action]
HELD_WRITTEN = [f for f in families.HELD if f.action is None]
HELD_MADE = [f for f in families.HELD if f.action]
NEAR_MADE = collections.defaultdict(list)
for _f in TRAINED_MADE + HELD_MADE:
    NEAR_MADE[_f.held, _f.action].append(_f)
    NEAR_MADE[_f.held, _f.thing].append(_f)


def pick_family(rng, held, near=None):
    written, made = (HELD_WRITTEN, HELD_MADE) if held else (TRAINED_WRITTEN, TRAINED_MADE)
    if near is not None and near.area and rng.random() < 0.5:  # tools of one purpose, as clients send them
        close = [f for f in families.AREAS[near.area] if f.held == held]
        if close:
            return rng.choice(close)
    if near is not None and near.action and rng.random() < 0.5:  # the hard ones to tell apart
        close = NEAR_MADE[held, near.action] + NEAR_MADE[held, near.thing]
        if close:
            return rng.choice(close)
    return rng.choice(written if rng.random() < (0.3 if held else 0.6) else made)


def kit_tools(rng, words, values, held=False):
    """The tools of one client, all or some of them."""
    kit = families.KITS[rng.choice(list(families.KITS))]
    count = len(kit) if rng.random() < 0.4 else rng.randint(2, len(kit))
    tools = [EverydayTool(rng, words, values, f, held, 0.25) for f in rng.sample(kit, count)]
    names = [t.name for t in tools]
    return [t for i, t in enumerate(tools) if t.name not in names[:i]]


def everyday_tools(rng, words, values, count, held=False, target=None):
    chosen = [target or pick_family(rng, held)]
    tries = 0
    while len(chosen) < count and tries < 60:
        tries += 1
        f = pick_family(rng, held and rng.random() < 0.5, rng.choice(chosen))
        if not any(conflict(f, c) for c in chosen):
            chosen.append(f)
    tools = [EverydayTool(rng, words, values, f, fixed=held) for f in chosen]
    names = [t.name for t in tools]
    return [t for i, t in enumerate(tools) if t.name not in names[:i]]


def near_key(rng, words, others):
    """Verb and object for another tool, sharing one of them with an existing tool in 40 %."""
    verb = noun = adjective = None
    if others and rng.random() < 0.4:
        base = rng.choice(others)
        r = rng.random()
        if r < 0.4:
            verb = base.verb
        elif r < 0.8:
            noun = base.noun
        else:
            verb, noun, adjective = base.verb, base.noun, words.adjective()
    return verb, noun, adjective


def synthetic_tools(rng, words, values, count):
    tools = []
    while len(tools) < count:
        t = Tool(rng, words, values, *near_key(rng, words, tools))
        clash = any(t.key == o.key or t.name == o.name or (t.verb, t.noun) == (o.verb, o.noun)
                    and not (t.adjective and o.adjective) for o in tools) or t.name in HELD_NAMES
        if not clash:
            tools.append(t)
    return tools


def decorate(rng, words, schemas):
    """What real clients add to their schemas: longer descriptions, defaults, strictness."""
    for schema in schemas:
        f = schema["function"]
        if "description" in f and rng.random() < 0.5:
            end = "" if f["description"].endswith(".") else "."
            f["description"] += end + rng.choice((
                f" Returns a {words.noun()}.", f" Returns the {words.noun()} as text.", " Use it only when needed.",
                f" The {words.noun()} must be {words.adjective()}.", f" It may take some time for a {words.noun()}."))
        for name, p in f["parameters"]["properties"].items():
            if rng.random() < 0.3:
                p["description"] = rng.choice((f"The {name} to use", f"{capital(name)} of the {words.noun()}, if known",
                                               f"A {words.adjective()} {name}", f"{name} ({p['type']})"))
        if rng.random() < 0.4:
            f["parameters"]["additionalProperties"] = False
        if rng.random() < 0.2:
            f["strict"] = True
