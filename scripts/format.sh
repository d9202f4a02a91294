#!/usr/bin/env bash
# Rewrites C++ and Rust sources in the house style; `--check` only reports.
# Other versions of clang-format break lines differently, so only 16 counts.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
rust=()
if [[ ${1:-} == --check ]]; then
  mode=(--dry-run --Werror)
  rust=(--check)
fi
if command -v clang-format-16 >/dev/null; then
  git ls-files -co --exclude-standard -- '*.cc' '*.h' '*.cu' '*.cuh' |
    xargs -r clang-format-16 "${mode[@]}"
else
  echo "format: skipped for C++, clang-format-16 is not on this machine"
fi
for manifest in $(git ls-files -- '*Cargo.toml'); do
  if scripts/cargo.sh fmt --version >/dev/null 2>&1; then
    scripts/cargo.sh fmt --manifest-path "$manifest" -- "${rust[@]}"
  else
    echo "format: skipped for $manifest, this cargo has no rustfmt"
  fi
done
