#!/usr/bin/env bash
# Style, include rules, type names, clippy and clang-tidy. CI runs all but the last (`scripts/lint.sh --quick`).
set -euo pipefail
cd "$(dirname "$0")/.."
status=0

echo "lint: format"
scripts/format.sh --check || status=1
echo "lint: include rules"
python3 tools/check_includes.py || status=1
echo "lint: type names"
python3 tools/check_type_names.py || status=1
echo "lint: clippy"
scripts/clippy.sh || status=1

if [[ ${1:-} != --quick ]]; then
  echo "lint: clang-tidy"
  scripts/build.sh release
  tidy() { # tree, files
    git ls-files -- "${@:2}" |
      xargs -r -P "$(nproc)" -n 4 clang-tidy-16 -p "$1" --quiet --warnings-as-errors='*' \
        --extra-arg=-Wno-unknown-warning-option 2>/dev/null || status=1
  }
  tidy build/release 'src/*.cc' ':!src/backend/cuda/'
  # CUDA's headers come with `make cuda`.
  [[ ! -f build/cuda/compile_commands.json ]] || tidy build/cuda 'src/backend/cuda/*.cc'
fi
exit $status
