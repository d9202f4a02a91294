#!/usr/bin/env bash
# Configures and builds one CMake preset: scripts/build.sh release [target …]. Says what it does;
# the compiler's own output is shown only when something fails or takes a terminal's attention.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:?usage: scripts/build.sh PRESET [TARGET …]}
shift
tree=build/$preset

# One Rust build serves every tree, by whichever cargo is new enough.
arguments=(-DM2_CARGO="$PWD/scripts/cargo.sh" -DM2_CARGO_TARGET_DIR="$PWD/build/cargo")
# The preset names clang 16; a system that has a newer one only uses that.
if [[ $preset == fuzz ]] && ! command -v clang++-16 >/dev/null; then
  for version in 19 18 17; do
    command -v clang++-$version >/dev/null || continue
    arguments+=(-DCMAKE_C_COMPILER=clang-$version -DCMAKE_CXX_COMPILER=clang++-$version)
    break
  done
fi

# Objects are found in the cache from any checkout's path. Where only the outcome counts, also those
# with debugging information, which names the folder that it was made in.
export CCACHE_BASEDIR=$PWD
[[ -n ${CI:-} ]] && export CCACHE_NOHASHDIR=1

mkdir -p "$tree"
if [[ ! -f $tree/build.ninja ]]; then
  echo "build: configuring $tree"
  cmake --preset "$preset" "${arguments[@]}" >"$tree/configure.log" 2>&1 || {
    cat "$tree/configure.log" >&2
    exit 1
  }
fi
echo "build: compiling $tree${*:+ ($*)}"
# ninja would start cores + 2 jobs; each compiler here can take a gigabyte.
ninja -C "$tree" -j "$(nproc)" --quiet "$@"
