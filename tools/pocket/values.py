"""Values that a user gives and a call must copy exactly."""
from words import (CITIES, DOMAINS, EXTENSIONS, FIRST, HELD_LONG_CITIES, LANGUAGES, LAST, LONG_CITIES, STATES,
                   WEEKDAYS)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MIXED = LETTERS + LETTERS.upper() + "0123456789"
ACCENTS = {"a": "áàäãå", "e": "éèê", "i": "íî", "o": "óöøô", "u": "üú", "n": "ñ", "c": "ç", "s": "ß"}
FOLDERS = "src lib app tests docs build tools home/ann projects tmp etc data config".split()
SOURCES = "py ts js c h cc rs go java json toml yaml md txt sh html css".split()


def random_chars(rng, low=3, high=10):
    return "".join(rng.choice(MIXED) for _ in range(rng.randint(low, high)))


class Values:
    def __init__(self, rng, words):
        self.rng, self.words = rng, words

    def integer(self):
        r = self.rng
        n = r.choice((r.randint(0, 9), r.randint(1, 99), r.randint(10, 999), r.randint(100, 99999)))
        return -n if r.random() < 0.07 else n

    def number(self):
        r = self.rng
        n = round(r.uniform(0, r.choice((1, 10, 100, 1000))), r.choice((1, 1, 2, 2, 3)))
        n = -n if r.random() < 0.15 else n
        return 2.5 if n == int(n) else n  # a whole number would be an integer on the wire

    def name(self):
        r = self.rng
        first = r.choice(FIRST) if r.random() < 0.5 else self.words.pseudo().capitalize()
        if r.random() < 0.5:
            return self.accent(first)
        return first + " " + (r.choice(LAST) if r.random() < 0.5 else self.words.pseudo().capitalize())

    def city(self):
        """One word mostly; some of two and more, some with their state or country behind a comma."""
        r, x = self.rng, self.rng.random()
        if x < 0.4:
            city = r.choice(CITIES)
        elif x < 0.6:
            city = r.choice(HELD_LONG_CITIES if self.words.held else LONG_CITIES)
        else:
            city = " ".join(self.words.pseudo().capitalize() for _ in range(1 if x < 0.87 else 2))
        return f"{city}, {r.choice(STATES)}" if r.random() < 0.07 else self.accent(city)

    def long_city(self):
        r = self.rng
        if r.random() < 0.5:
            return r.choice(HELD_LONG_CITIES if self.words.held else LONG_CITIES)
        return " ".join(self.words.pseudo().capitalize() for _ in range(2))

    def deed(self):
        """What somebody has to do, as it is said: without quotes."""
        r, w = self.rng, self.words
        return r.choice((lambda: f"call {r.choice(FIRST)}", lambda: f"call {w.noun()}", lambda: f"{w.verb()} the {w.noun()}",
                         lambda: f"buy {w.noun()} and {w.noun()}", lambda: f"{w.verb()} {w.noun()}",
                         lambda: f"{w.verb()} the {w.adjective()} {w.noun()}", lambda: f"{w.verb()} my {w.noun()}s"))()

    def listed(self):
        """A text that lists things, with commas."""
        w = self.words
        return ", ".join(w.any() for _ in range(self.rng.choice((2, 2, 3)))) + f" and {w.any()}"

    def accent(self, text):
        """Now and then a letter that is not ASCII."""
        r = self.rng
        at = [i for i, c in enumerate(text) if c in ACCENTS]
        if not at or r.random() > 0.03:
            return text
        i = r.choice(at)
        return text[:i] + r.choice(ACCENTS[text[i]]) + text[i + 1:]

    def email(self):
        r = self.rng
        local = r.choice((r.choice(FIRST).lower(), self.words.pseudo(), self.words.any()))
        if r.random() < 0.4:
            local += r.choice("._-") + r.choice((r.choice(LAST).lower(), self.words.pseudo(), str(r.randint(1, 99))))
        domain = r.choice(DOMAINS) if r.random() < 0.5 else self.words.pseudo() + r.choice((".com", ".org", ".net", ".io", ".de"))
        return f"{local}@{domain}"

    def file(self):
        r = self.rng
        name = self.words.any()
        if r.random() < 0.3:
            name += r.choice("_-") + r.choice((self.words.any(), str(r.randint(1, 2030))))
        name += "." + r.choice(EXTENSIONS)
        if r.random() < 0.3:
            name = self.words.any() + "/" + name
        return name

    def folder(self):
        return "/".join(self.words.any() for _ in range(self.rng.choice((1, 1, 2))))

    def id(self):
        r = self.rng
        kind = r.randint(0, 7)
        if kind > 4:
            return r.choice((
                lambda: f"v{r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 9)}",
                lambda: f"{r.randint(1, 255)}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.randint(1, 255)}",
                lambda: "".join(r.choice("0123456789abcdef") for _ in range(r.randint(6, 10))),
                lambda: f"sk-{random_chars(r, 4, 8)}", lambda: str(r.randint(1000, 9999999)),
                lambda: f"{self.words.any().upper()[:5]}-{r.randint(1, 9999)}"))()
        if kind == 0:
            return f"{r.choice(LETTERS).upper()}{r.choice(LETTERS).upper()}-{r.randint(10, 99999)}"
        if kind == 1:
            return f"{self.words.any()}_{r.randint(1, 9999)}"
        if kind == 2:
            return f"{self.words.pseudo()}-{r.randint(1, 999)}"
        if kind == 3:
            return r.choice(LETTERS) + str(r.randint(10, 9999)) + r.choice(LETTERS)
        return random_chars(r, 4, 10)

    def chars(self):
        return random_chars(self.rng)

    def word(self):
        return self.words.any()

    def phrase(self):
        n = self.rng.choice((1, 2, 2, 3, 3, 4, 5))
        text = self.accent(" ".join(self.words.any() for _ in range(n)))
        return text.capitalize() if self.rng.random() < 0.4 else text

    def sentence(self):
        r, w = self.rng, self.words
        return r.choice((
            lambda: f"The {w.noun()} is {w.adjective()}", lambda: f"Please {w.verb()} the {w.noun()} today",
            lambda: f"We meet at {self.time()}", lambda: f"I will be late by {r.randint(2, 59)} minutes",
            lambda: f"{self.name()} needs the {w.noun()}", lambda: f"Do not forget the {w.adjective()} {w.noun()}",
            self.listed, lambda: f"{w.noun().capitalize()}, {w.noun()}, {w.noun()}",
            lambda: f"See you on {r.choice(WEEKDAYS)}", self.phrase, self.lively))()

    def lively(self):
        """Words between the marks that people use."""
        r, w = self.rng, self.words
        return r.choice((
            lambda: f"It's {w.adjective()}, isn't it?", lambda: f"{self.name()}'s {w.noun()}: {r.randint(1, 100)}%",
            lambda: f"{w.noun().capitalize()}: ${self.number()}", lambda: f"{w.noun()} ({w.adjective()})",
            lambda: f"Buy {r.randint(2, 20)} {w.noun()}s, {r.randint(2, 20)} {w.noun()}s", lambda: f"{w.noun()} & {w.noun()}",
            lambda: f"{w.verb()}/{w.noun()} #{r.randint(1, 99)}", lambda: f"Don't {w.verb()} it!",
            lambda: f"{w.noun()}; {w.noun()}; {w.noun()}", lambda: f"First {w.verb()}, then {w.verb()}",
            lambda: f"{w.noun()} - {w.noun()}", lambda: f"{r.randint(-9, 99)}\u00b0{r.choice('CF')}, {w.adjective()}",
            lambda: f"{r.randint(1, 99)} \u20ac", lambda: f"Hello {r.choice(FIRST)}, {w.verb()} the {w.noun()}"))()

    def date(self):
        r = self.rng
        return f"{r.randint(1999, 2031)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"

    def time(self):
        return f"{self.rng.randint(0, 23):02d}:{self.rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, 55)):02d}"

    def day(self):
        return self.rng.choice(WEEKDAYS + ["today", "tomorrow"])

    def language(self):
        return self.rng.choice(LANGUAGES)

    def phone(self):
        r = self.rng
        return f"+{r.randint(1, 99)} {r.randint(100, 999)} {r.randint(1000, 999999)}"

    def url(self):
        r = self.rng
        path = "".join("/" + self.words.any() for _ in range(r.choice((0, 1, 1, 2))))
        return f"https://{self.words.any()}.{r.choice(('com', 'org', 'net', 'io'))}{path}"

    def expression(self):
        r = self.rng
        text = str(r.randint(1, 999))
        for _ in range(r.choice((1, 1, 1, 2))):
            text += f" {r.choice('+-*/')} {r.randint(1, 999)}"
        return text

    def count(self):
        return self.rng.choice((self.rng.randint(1, 9), self.rng.randint(1, 60), self.rng.randint(1, 999)))

    def boolean(self):
        return self.rng.random() < 0.5

    def files(self):
        return [self.file() for _ in range(self.rng.choice((1, 2, 2, 3, 3, 4)))]

    def content(self):
        """What stands in a file: a sentence, or some lines."""
        if self.rng.random() < 0.7:
            return self.sentence()
        return "\n".join(self.phrase() for _ in range(self.rng.randint(2, 4))) + self.rng.choice(("", "\n"))

    def dir(self):
        """A directory as a coding agent names it."""
        r = self.rng
        parts = [r.choice(FOLDERS) if r.random() < 0.6 else self.words.any() for _ in range(r.choice((1, 1, 2)))]
        return r.choice(("", "", "", "/", "/", "./")) + "/".join(parts) if r.random() < 0.93 else r.choice("./~")

    def path(self):
        r = self.rng
        name = f"{self.words.any()}.{r.choice(SOURCES)}" if r.random() < 0.9 else r.choice(
            ("Makefile", "README", "LICENSE", "Dockerfile", ".gitignore"))
        return f"{self.dir()}/{name}" if r.random() < 0.75 else name

    def glob(self):
        r, e = self.rng, self.rng.choice(SOURCES)
        return r.choice((f"**/*.{e}", f"*.{e}", f"src/**/*.{e}", f"{self.words.any()}*", f"{self.folder()}/*.{e}",
                         f"test_*.{e}", f"**/{self.words.any()}.{e}"))

    def pattern(self):
        w = self.words.any
        return self.rng.choice((w, w, lambda: f"def {w()}", lambda: f"class {w().capitalize()}", lambda: f"import {w()}",
                                lambda: "TODO", lambda: f"{w()}.*{w()}", lambda: f"{w()}_{w()}", lambda: f"{w()}("))()

    def command(self):
        r, w = self.rng, self.words.any
        return r.choice((
            lambda: r.choice(("ls", "pwd", "git status", "git diff", "npm test", "make", "make test", "whoami", "date",
                              "df -h")),
            lambda: f"ls -la {self.dir()}", lambda: f"python {self.path()}", lambda: f"cat {self.path()}",
            lambda: f"grep -rn {w()} {self.dir()}", lambda: f"npm run {w()}", lambda: f"make {w()}",
            lambda: f"mkdir -p {self.dir()}", lambda: f"rm {self.path()}", lambda: f"echo {w()}",
            lambda: f"cd {self.dir()} && {r.choice(('ls', 'make', 'git pull'))}", lambda: f"pip install {w()}",
            lambda: f"wc -l {self.path()}", lambda: f"git checkout {w()}", lambda: f"{w()} --{w()} {r.randint(1, 99)}"))()

    def output(self):
        """What a command prints."""
        r, w = self.rng, self.words
        return r.choice((self.sentence, self.listing, lambda: str(r.randint(0, 9999)), w.any, self.path,
                         lambda: f"{r.randint(1, 99)} passed, {r.randint(0, 9)} failed",
                         lambda: f"{w.noun()}: {w.adjective()}\n{w.noun()}: {r.randint(0, 99)}", self.code))()

    def listing(self):
        return "\n".join(self.path() for _ in range(self.rng.choice((1, 2, 2, 3, 4))))

    def code(self):
        r, w = self.rng, self.words.any
        lines = [r.choice((lambda: f"import {w()}", lambda: f"{w()} = {r.randint(0, 999)}", lambda: f"# {self.phrase()}",
                           lambda: f"{w()}: {w()}", lambda: f"print({w()})", lambda: f"{w()}({w()}, {r.randint(0, 9)});",
                           lambda: f"def {w()}():\n    return {w()}", self.sentence))() for _ in range(r.choice((1, 1, 2, 3)))]
        if r.random() < 0.25:
            lines = [f"{i + 1}\t{line}" for i, line in enumerate("\n".join(lines).split("\n"))]
        return "\n".join(lines)

    def list(self):
        return [self.words.any() for _ in range(self.rng.choice((1, 2, 2, 3, 3, 4)))]

    def text(self):
        return self.sentence() if self.rng.random() < 0.4 else self.phrase()

    def symbol(self):
        return "".join(self.rng.choice(LETTERS.upper()) for _ in range(self.rng.randint(2, 5)))

    def flight(self):
        return "".join(self.rng.choice(LETTERS.upper()) for _ in range(2)) + str(self.rng.randint(10, 9999))

    def room(self):
        if self.rng.random() < 0.4:
            return self.words.pseudo()
        return self.rng.choice("kitchen bedroom bathroom office garage hall cellar attic garden study".split())

    def make(self, kind):
        return getattr(self, kind)()
