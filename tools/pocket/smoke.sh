#!/bin/sh
# The whole chain on a CPU, small: tokenizer, some steps of training, a resumed run, export, a run from the export, evaluation.
# It proves that the pipeline works; the checkpoint it makes knows nothing.  Usage: smoke.sh [WORK_DIR]
# PYTHON chooses the interpreter (it needs torch, numpy, safetensors and regex).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
work=${1:-$(mktemp -d)}
mkdir -p "$work"
echo "smoke: working in $work"
cp "$here/../../models/pocket/tokenizer.json" "$here/../../models/pocket/tokenizer_config.json" "$work/" 2>/dev/null ||
  "$python" "$here/build_tokenizer.py" "$work"
common="--folder $work --cpu --tokens 512 --processes 1 --state $work/state --rate 1e-3"
"$python" "$here/train.py" $common --seconds 400 --steps 6
"$python" "$here/train.py" $common --seconds 400 --steps 8 | tee "$work/resumed.log"
grep -q "resumed at step 6" "$work/resumed.log"
"$python" "$here/train.py" --folder "$work" --cpu --tokens 512 --processes 1 --start --seconds 400 --steps 2
"$python" "$here/evaluate.py" --folder "$work" --cpu --count 1 --reply-tokens 4
echo "smoke: passed"
