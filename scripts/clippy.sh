#!/usr/bin/env bash
# clippy over our Rust crate, warnings as errors. Skipped where cargo has no clippy.
set -euo pipefail
cd "$(dirname "$0")/.."
for manifest in $(git ls-files -- '*Cargo.toml'); do
  if ! scripts/cargo.sh clippy --version >/dev/null 2>&1; then
    echo "clippy: skipped for $manifest, this cargo has no clippy"
    continue
  fi
  CARGO_TARGET_DIR=$PWD/build/cargo scripts/cargo.sh clippy --quiet --locked \
    --manifest-path "$manifest" --all-targets -- -D warnings
done
