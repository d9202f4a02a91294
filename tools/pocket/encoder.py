"""Encodes rendered documents with a cache per word: the training stream needs millions a second.

Tests hold it against Hugging Face's tokenizers on whole documents.
"""
import json
import os

import regex

from build_tokenizer import apply, byte_letters


class Encoder:
    def __init__(self, folder):
        with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
            data = json.load(f)
        self.vocab = data["model"]["vocab"]
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(data["model"]["merges"])}
        self.added = {t["content"]: t["id"] for t in data["added_tokens"]}
        self.special = {t["id"] for t in data["added_tokens"] if t["special"]}
        self.split = regex.compile("(" + "|".join(regex.escape(a) for a in self.added) + ")")
        self.pattern = regex.compile(data["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"])
        self.letters = byte_letters()
        self.bytes = {c: b for b, c in enumerate(self.letters)}
        self.names = {i: p for p, i in self.vocab.items()}
        self.size = len(self.vocab) + len(self.added)
        self.eos = self.added["[e~["]
        self.cache, self.parts = {}, {}

    def pieces(self):
        """The pieces of letters only, for invented words."""
        return [p for p in self.vocab if len(p) > 1 and p.isascii() and p.isalpha()]

    def word(self, text):
        ids = self.cache.get(text)
        if ids is None:
            parts = apply([self.letters[b] for b in text.encode()], self.ranks)
            ids = [self.vocab[p] for p in parts]
            if len(self.cache) < 400_000:
                self.cache[text] = ids
        return ids

    def part(self, text):
        ids = self.parts.get(text)
        if ids is None:
            ids = [self.added[text]] if text in self.added else [i for w in self.pattern.findall(text) for i in self.word(w)]
            if len(self.parts) < 5_000:  # what stands in every prompt comes early
                self.parts[text] = ids
        return ids

    def spans(self, spans):
        """(ids, weights) of a document given as (text, weight). A word takes its first letter's weight."""
        text = "".join(t for t, _ in spans)
        ends, weights_of, end = [], [], 0
        for t, w in spans:
            end += len(t)
            ends.append(end)
            weights_of.append(w)
        ids, weights, at, span = [], [], 0, 0
        for part in self.split.split(text):
            if not part:
                continue
            while ends[span] <= at:
                span += 1
            if ends[span] >= at + len(part):  # one span holds all of it
                new = self.part(part)
                ids.extend(new)
                weights.extend([weights_of[span]] * len(new))
                at += len(part)
                continue
            for word in self.pattern.findall(part):
                while ends[span] <= at:
                    span += 1
                new = self.word(word)
                ids.extend(new)
                weights.extend([weights_of[span]] * len(new))
                at += len(word)
        return ids, weights

    def encode(self, text):
        return self.spans([(text, 0)])[0]

    def decode(self, ids, skip_special=False):
        out = bytearray()
        names = {i: a for a, i in self.added.items()}
        for i in ids:
            if i in names:
                if not (skip_special and i in self.special):
                    out += names[i].encode()
            elif i in self.names:
                out += bytes(self.bytes[c] for c in self.names[i])
        return out.decode("utf-8", errors="replace")
