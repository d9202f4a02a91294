"""An everyday tool as others would have made it: with other words, other names, other spellings."""
import copy
import functools
import re

STOP = set("""a an the of to in on at by for from with and or is are am be was i me my you your it its this that these
what which who how when where do does did has have had can could should would will want wants need needs please some
any all there into as if not no now then up about one more am get gets give show tell make made so than out off over
was were being been by don let""".split())


def content_words(template):
    """What a request is about: its words without function words and without values, at most four."""
    words = re.findall(r"[A-Za-z_-]+", re.sub(r"\{[^}]*\}", " ", template).lower())
    return [w for w in dict.fromkeys(words) if w not in STOP and len(w) > 1][:4] or ["this"]


def vary(family, rng, fresh):
    """A family with one or two of its words replaced by fresh ones everywhere: a tool that training
    shows once only, so that requests are matched by what stands in the prompt, not by memory."""
    words = [w for w in dict.fromkeys(re.findall(r"[a-z]+", family.description.lower())) if w not in STOP and len(w) > 2]
    slots = {p.name for p in family.params}
    words = [w for w in words if w not in slots and any(_has(w, r) for r in family.requests)]
    if not words:
        return family
    chosen = rng.sample(words, min(len(words), 1 if rng.random() < 0.6 else 2))
    new = copy.copy(family)
    new.requests = [r for r in family.requests if all(_has(w, r) for w in chosen)]
    if not new.requests:
        chosen = chosen[:1]
        new.requests = [r for r in family.requests if _has(chosen[0], r)]
    for w in chosen:
        x = asked = fresh()
        if rng.random() < 0.12:  # the request has another form of the word: meditate, meditation
            x, asked = rng.sample((x, x + rng.choice(ENDINGS)), 2)
        new.name = "_".join(x + "s" * (p == w + "s") if p in (w, w + "s") else p for p in new.name.split("_"))
        new.description = _replace(w, x, new.description)
        new.requests = [_replace(w, asked, r) for r in new.requests]
        new.results = [[_replace(w, x, k), kind] for k, kind in new.results]
    if rng.random() < 0.5:  # other choices too
        new.params = [p.with_choices([fresh() for _ in p.enum]) if p.enum else p for p in new.params]
    return new


# what other makers of tools call the same things
NAME_WORDS = {"get": "fetch read lookup query", "create": "add make new", "delete": "remove drop erase", "list": "show all ls",
              "send": "post mail", "set": "change update adjust", "search": "find query", "find": "search locate",
              "directory": "dir folder", "add": "append create", "book": "reserve", "file": "doc path", "read": "open view",
              "write": "save put", "event": "entry appointment", "run": "execute start", "email": "mail", "start": "begin run"}
PARAM_NAMES = {"path": "file file_path filename filepath", "city": "location place town", "text": "message content body",
               "id": "identifier number ref", "title": "name subject heading", "date": "day on when", "query": "q term search",
               "email": "address recipient mail", "to": "target recipient dest", "from": "source origin start",
               "amount": "value sum total", "count": "number n how_many", "minutes": "duration length mins",
               "name": "label title who", "word": "term token_text", "content": "text data body", "folder": "dir directory path",
               "limit": "max count top", "number": "value n", "person": "name who contact", "time": "at hour clock",
               "room": "place area", "days": "n_days duration", "expression": "expr formula input", "country": "nation region",
               "song": "track title", "order": "order_id number", "url": "link address", "subject": "title topic"}


def respell(family, rng):
    """A family as another maker would name it and its parameters: names are read, not remembered."""
    new = copy.copy(family)
    parts = family.name.split("_")
    for i, p in enumerate(parts):
        if p in NAME_WORDS and rng.random() < 0.4:
            parts[i] = rng.choice(NAME_WORDS[p].split())
    new.name = "_".join(parts)
    new.params = []
    for p in family.params:
        if p.name in PARAM_NAMES and rng.random() < 0.5:
            name = rng.choice(PARAM_NAMES[p.name].split())
            if all(name != q.name for q in family.params + new.params):
                new.requests = [r.replace("{" + p.name + "}", "{" + name + "}") for r in new.requests]
                p = copy.copy(p)
                p.name = name
        new.params.append(p)
    return new


WORD = re.compile(r"(?<![{A-Za-z_])[A-Za-z]+(?![A-Za-z}])")  # outside of slots
ENDINGS = "ing er ion ation ed ment or al ly ity".split()


@functools.lru_cache(8192)
def _words(text):
    return frozenset(w.lower() for w in WORD.findall(text))


def _has(word, text):
    return word in _words(text) or word + "s" in _words(text)


def _replace(word, by, text):
    def change(m):
        old = m.group(0)
        if old.lower() not in (word, word + "s"):
            return old
        return _like(old, by) + old[len(word):]
    return WORD.sub(change, text)


def _like(old, new):
    return new[0].upper() + new[1:] if old[0].isupper() else new
