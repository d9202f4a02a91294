"""Builds tokenizer.json and tokenizer_config.json: byte-level BPE in the form of the real members.

Merges never join a letter with anything else, nor two digits, so a word has the same pieces
wherever it stands and copying is copying. Only some two hundred function words also get a piece
with their leading space.  Usage: build_tokenizer.py OUT_DIR
"""
import collections
import json
import os
import random
import sys

import documents

ROWS = 1024             # rows of the embedding
PADDING_ROWS = 10       # of these, past the last token
PUNCTUATION_MERGES = 46
SPACE_WORDS = """the to a an for with and of in is user wants fits tool tools result has can answer want please
you need from then this your id first that what set called name now list me on by at asks know it
type string description properties parameters required object integer function my do not you're
repeat text no can't show email file all are about after be before how i into new one or who which
tell get give many its it's some using title value will as when there could would use""".split()

SPECIAL = """]!p~[|<fim_prefix>|<fim_middle>|<fim_suffix>|<fim_pad>|<reponame>|<filename>|<gh_stars>|<issue_start>
<issue_comment>|<issue_closed>|<jupyter_start>|<jupyter_text>|<jupyter_code>|<jupyter_output>|<empty_output>
<commit_before>|<commit_msg>|<commit_after>|]~b]|[e~[|]!d~[|<function_call>|<code_interpreter>|]<]speech[>[
]<]image[>[|]<]video[>[|]<]start of speech[>[|]<]end of speech[>[|]<]start of image[>[|]<]end of image[>[
]<]start of video[>[|]<]end of video[>[|]<]vision pad[>[|]~!b[|<jupyter_error>|<add_file>|<delete_file>
<rename_file>|<edit_file>|<commit_message>|<empty_source_file>|<repo_struct>|<code_context>|<file_content>
<source_files>|<pr_start>|<review_comment>|<filepath>|<file_sep>|<think>|</think>|<minimax:tool_call>
</minimax:tool_call>"""
ADDED = SPECIAL.replace("\n", "|").split("|")
PLAIN_ADDED = {"<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>"}  # these stay in the text

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_letters():
    """The printable letter that stands for each byte in the file, as in GPT-2."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + extra)
            extra += 1
    return [letters[b] for b in range(256)]


def sample_words(documents_count, seed):
    """Counts of letter runs, and of runs of anything else that is no digit."""
    import regex
    pattern, rng = regex.compile(PATTERN), random.Random(seed)
    added = regex.compile("|".join(regex.escape(a) for a in ADDED))
    letters, others = collections.Counter(), collections.Counter()
    for _ in range(documents_count):
        text = "".join(t for t, _ in documents.make_spans(rng))
        for part in added.split(text):
            for word in pattern.findall(part):
                for run in regex.findall(r"\p{L}+|[^\p{L}\p{N}]+", word):
                    (letters if run[0].isalpha() else others)[run] += 1
    return letters, others


def learn(counts, merges):
    """Plain BPE over a small table of words: pairs by count, ties by text."""
    words = [(list(w), n) for w, n in sorted(counts.items())]
    out = []
    while len(out) < merges:
        pairs = collections.Counter()
        for parts, n in words:
            for pair in zip(parts, parts[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        out.append(best)
        joined = best[0] + best[1]
        for parts, _ in words:
            i = 0
            while i + 1 < len(parts):
                if (parts[i], parts[i + 1]) == best:
                    parts[i:i + 2] = [joined]
                i += 1
    return out


def apply(word, ranks):
    parts = list(word)
    while len(parts) > 1:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get((parts[i], parts[i + 1]), 1 << 30))
        if (parts[best], parts[best + 1]) not in ranks:
            break
        parts[best:best + 2] = [parts[best] + parts[best + 1]]
    return parts


def build(documents_count=6000, seed=11):
    space = byte_letters()[32]
    newline = byte_letters()[10]
    letters, others = sample_words(documents_count, seed)
    budget = ROWS - PADDING_ROWS - len(ADDED) - 256 - PUNCTUATION_MERGES
    for w in SPACE_WORDS:  # the function words must become pieces themselves
        letters[w] += 40000 if w.isalpha() else 0
    letters = collections.Counter({w: n for w, n in letters.items() if w.isascii() and n > 1})
    table = {" ": space, "\n": newline}
    others = collections.Counter({"".join(table.get(c, c) for c in w): n for w, n in others.items()
                                  if len(w) <= 6 and w.isascii()})
    merges = learn(letters, budget - len([w for w in SPACE_WORDS if w.isalpha()]))
    ranks = {m: i for i, m in enumerate(merges)}
    whole = [w for w in dict.fromkeys(SPACE_WORDS) if w.isalpha() and len(apply(w, ranks)) == 1]
    merges = learn(letters, budget - len(whole)) + learn(others, PUNCTUATION_MERGES)
    ranks = {m: i for i, m in enumerate(merges)}
    merges += [(space, w) for w in whole if len(apply(w, ranks)) == 1]
    return merges


def tokenizer_json(merges):
    vocab = {c: i for i, c in enumerate(byte_letters())}
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))
    added = [{"id": len(vocab) + i, "content": a, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": a not in PLAIN_ADDED} for i, a in enumerate(ADDED)]
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Removed", "invert": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                      "merges": [f"{a} {b}" for a, b in merges]}}


def tokenizer_config(tokenizer):
    decoder = {str(t["id"]): {k: t[k] for k in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")}
               for t in tokenizer["added_tokens"]}
    return {"add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": decoder,
            "additional_special_tokens": [a for a in ADDED if a not in PLAIN_ADDED], "bos_token": "]~!b[",
            "clean_up_tokenization_spaces": False, "eos_token": "[e~[", "model_max_length": 40960000,
            "tokenizer_class": "GPT2Tokenizer", "unk_token": "]!d~["}


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    tokenizer = tokenizer_json(build())
    for name, value in (("tokenizer.json", tokenizer), ("tokenizer_config.json", tokenizer_config(tokenizer))):
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False, indent=2)
            f.write("\n")
    print(f"{len(tokenizer['model']['vocab'])} pieces, {len(ADDED)} added tokens, {ROWS} rows")


if __name__ == "__main__":
    main()
