#!/usr/bin/env python3
"""Checks who may include whom (docs/architecture.md). Exits 1 and lists every line that breaks it.

Rules are on includes with quotes, relative to src/; those with angle brackets are checked only for
the libraries that belong to a few files (Asio and Beast, CUDA).
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')

# Folder → what its files may include besides themselves: a folder ("base/") or a header ("a/b.h").
# The longest folder that matches a file decides.
RULES = {
    "base": [],
    "json": ["base/"],
    "engine": ["base/"],
    "text": ["base/", "json/", "engine/constraint.h"],
    "parallel": ["base/"],
    "model": ["base/", "json/", "parallel/communicator.h"],
    "loader": ["base/", "json/", "model/config.h", "model/random_runs.h", "model/weight_block.h",
               "model/weights.h", "model/shard.h"],
    "backend/cpu": ["base/", "model/config.h", "model/ops.h", "model/batch.h", "model/weights.h",
                    "parallel/communicator.h"],
    "backend/cuda": ["base/", "model/config.h", "model/ops.h", "model/batch.h",
                     "model/weight_block.h", "model/weights.h", "parallel/communicator.h", "backend/backend.h", "backend/plugin.h"],
    "backend": ["base/", "model/config.h", "model/ops.h", "model/weight_block.h",
                "backend/cpu/"],
    "runtime": ["base/", "json/", "engine/executor.h", "model/", "parallel/", "loader/",
                "backend/backend.h"],
    "server": ["base/", "json/", "text/", "engine/"],
    "cli": ["base/", "json/", "text/", "engine/", "model/", "parallel/", "loader/", "backend/",
            "runtime/", "server/"],
}
# model reads JSON in config.cc alone.
JSON_IN_MODEL = {"model/config.cc", "model/config.h"}
# Libraries that only a few files may see: they are slow to compile, or tie a file to a device.
LIBRARIES = [
    (re.compile(r"^boost/(asio|beast)"), re.compile(r"^server/http/\w+\.cc$")),
    (re.compile(r"^boost/json"), re.compile(r"^json/\w+\.cc$")),
    (re.compile(r"^(cuda|cublas|nccl|cub/|cute/|cutlass/)"), re.compile(r"^backend/cuda/")),
]
CUDA_SOURCE_MAY = re.compile(r"^(backend/cuda/.*\.cuh|base/dtype\.h|model/random_runs\.h)$")


def folder_of(path):
    """The key of RULES that governs a path relative to src/, or None."""
    matches = [key for key in RULES if path.startswith(key + "/")]
    return max(matches, key=len, default=None)


def allowed(path, included):
    own = folder_of(path)
    if path.endswith((".cu", ".cuh")):
        return bool(CUDA_SOURCE_MAY.match(included))
    if folder_of(included) == own:
        return True
    if path.startswith("model/") and included.startswith("json/"):
        return path in JSON_IN_MODEL
    return any(included == rule or (rule.endswith("/") and included.startswith(rule))
               for rule in RULES[own])


def check_file(path, text):
    """Every broken rule of one file; `path` is relative to src/."""
    if folder_of(path) is None:
        return [f"{path}: a folder that has no include rule"]
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        ours, library = match.groups()
        if ours and (ROOT / "src" / ours).exists() and not allowed(path, ours):
            faults.append(f"src/{path}:{number}: {folder_of(path)} may not include {ours}")
        for names, users in LIBRARIES:
            if library and names.match(library) and not users.match(path):
                faults.append(f"src/{path}:{number}: <{library}> does not belong here")
    return faults


def main():
    files = [path for path in sorted((ROOT / "src").rglob("*"))
             if path.suffix in (".h", ".cc", ".cu", ".cuh") and "target" not in path.parts]
    faults = []
    for path in files:
        faults += check_file(str(path.relative_to(ROOT / "src")), path.read_text())
    print("\n".join(faults) if faults else f"include rules hold in {len(files)} files")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
