#!/usr/bin/env bash
# Runs the machine's cargo when it is new enough, whatever it is called and wherever it lies;
# says so and exits 1 when there is none. `scripts/cargo.sh --where` prints its path.
set -u
least_minor=85 # Cargo.lock's dependencies need Rust 1.85

new_enough() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  [[ $version =~ ^cargo\ 1\.([0-9]+)\. ]] && ((BASH_REMATCH[1] >= least_minor))
}

for candidate in cargo "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" cargo-1.{95..85}; do
  path=$(command -v "$candidate") || continue
  new_enough "$path" || continue
  if [[ ${1:-} == --where ]]; then
    echo "$path"
    exit 0
  fi
  # A versioned cargo of a distribution looks for a plain `rustc`; point it at its twin.
  [[ $path == *cargo-1.* && -x ${path/cargo-/rustc-} ]] && export RUSTC=${path/cargo-/rustc-}
  exec "$path" "$@"
done
echo "no cargo 1.$least_minor or newer on this machine" >&2
exit 1
