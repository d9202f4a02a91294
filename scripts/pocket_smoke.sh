#!/usr/bin/env bash
# The training pipeline of the pocket checkpoint, whole and small, on a CPU (tools/pocket/smoke.sh), by the
# first interpreter that has torch: build/train-venv's, which `pip install -r tools/pocket/requirements.txt`
# fills with 3 GB, or the machine's. Exits 3 where neither has.
set -euo pipefail
cd "$(dirname "$0")/.."
for python in build/train-venv/bin/python python3; do
  "$python" -c 'import torch, numpy, regex, safetensors' 2>/dev/null || continue
  rm -rf build/pocket-smoke
  PYTHON=$(command -v "$python") exec sh tools/pocket/smoke.sh "$PWD/build/pocket-smoke"
done
exit 3
