#!/usr/bin/env bash
# Runs every benchmark program of the release build: figures of this machine, for comparison with
# itself only.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob
programs=(build/release/bin/*_bench)
((${#programs[@]})) || echo "bench: no benchmark programs yet"
for program in "${programs[@]}"; do
  echo "bench: $(basename "$program")"
  "$program"
done
