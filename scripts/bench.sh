#!/usr/bin/env bash
# Runs every benchmark program of the release build: figures of this machine, for comparison with
# itself only.
set -euo pipefail
cd "$(dirname "$0")/.."
for shape in pocket wide; do
  echo "bench: m2 bench --shape $shape"
  build/release/bin/m2 bench --shape "$shape" --prefill 200 512
done
shopt -s nullglob
programs=(build/release/bin/*_bench)
((${#programs[@]})) || echo "bench: no benchmark programs yet"
for program in "${programs[@]}"; do
  echo "bench: $(basename "$program")"
  "$program"
done
