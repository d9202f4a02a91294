#!/usr/bin/env python3
"""Checks that no type name is defined twice in one program. Two libraries that both define m2::Options
link without a word, and run with one of the two constructors: C++ calls that undefined. Exits 1 and
lists every name that two files define outside of unnamed namespaces.

Files under src/ are one program, and so is each folder of tests/ with src/.
"""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What is no code: comments, strings (raw ones too), characters. A digit's separator is no quote.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
                   r"|(?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+'", re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
TOKEN = re.compile(r"[{};()<>]|::|\w+|[^\s\w]")
KEYS = {"struct", "class", "union"}


def defined_types(text):
    """Qualified names of the types that a file defines with a body, but for unnamed namespaces'."""
    tokens = TOKEN.findall(DIRECTIVE.sub("", NOISE.sub(" ", text)))
    found, scopes = [], []  # a scope: its name; "" is unnamed, None is no scope of names
    statement = []          # tokens since the last { } or ;
    for token in tokens:
        if token == "{":
            name, is_type = scope_of(statement)
            scopes.append(name)
            if is_type and "" not in scopes and None not in scopes:
                found.append("::".join(scopes))
            statement = []
        elif token == "}":
            if scopes:
                scopes.pop()
            statement = []
        elif token == ";":
            statement = []
        else:
            statement.append(token)
    return found


def scope_of(statement):
    """What a brace after these tokens opens: its name, and whether it is a type's."""
    if "namespace" in statement:
        return "".join(statement[statement.index("namespace") + 1:]), False
    words = " ".join(statement)
    words = re.sub(r"alignas \([^)]*\)|\[ \[.*?\] \]", "", words).split()
    while len(words) > 1 and words[1] == ":" and words[0] in ("public", "private", "protected"):
        words = words[2:]
    if words[:1] == ["template"]:
        words = after_angles(words[1:])
    keys = KEYS | {"enum"}
    if not words or words[0] not in keys:
        return None, False
    words = [word for word in words if word not in keys and word != "final"]
    name = words[:words.index(":")] if ":" in words else words
    # A function that returns a type, or a specialisation, which is another type than its template.
    if "(" in name or "<" in name:
        return None, False
    return "".join(name), bool(name)


def after_angles(words):
    depth = 0
    for place, word in enumerate(words):
        depth += {"<": 1, ">": -1}.get(word, 0)
        if depth == 0:
            return words[place + 1:]
    return []


def check(files):
    """A line for each name that is defined twice; `files` are (path, text)."""
    places = collections.defaultdict(lambda: collections.defaultdict(list))
    for path, text in files:
        program = "src" if path.startswith("src/") else str(pathlib.PurePath(path).parent)
        for name in defined_types(text):
            places[name][program].append(path)
    faults = []
    for name, programs in sorted(places.items()):
        ours = programs.pop("src", [])
        groups = [ours + theirs for theirs in programs.values()] or [ours]
        for group in groups:
            if len(set(group)) > 1:
                faults.append(f"{name} is defined in {' and '.join(sorted(set(group)))}")
    return faults


def main():
    paths = [path for folder in ("src", "tests") for path in sorted((ROOT / folder).rglob("*"))
             if path.suffix in (".h", ".cc", ".cu", ".cuh") and "target" not in path.parts]
    faults = check((str(path.relative_to(ROOT)), path.read_text()) for path in paths)
    print("\n".join(faults) if faults else f"no type is defined twice in {len(paths)} files")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
