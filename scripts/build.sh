#!/usr/bin/env bash
# Configures and builds one CMake preset: scripts/build.sh release [target …]. Says what it does;
# the compiler's own output is shown only when something fails or takes a terminal's attention.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:?usage: scripts/build.sh PRESET [TARGET …]}
shift
tree=build/$preset

arguments=()
# The preset names clang 16; a system that has a newer one only uses that.
if [[ $preset == fuzz ]] && ! command -v clang++-16 >/dev/null; then
  for version in 19 18 17; do
    command -v clang++-$version >/dev/null || continue
    arguments=(-DCMAKE_C_COMPILER=clang-$version -DCMAKE_CXX_COMPILER=clang++-$version)
    break
  done
fi

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
