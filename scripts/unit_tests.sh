#!/usr/bin/env bash
# Runs the C++ tests of one build tree and leaves their results for scripts/count_tests.py:
# scripts/unit_tests.sh PRESET RESULTS_FOLDER [ctest argument …]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 results=$2
shift 2
mkdir -p "$results"
echo "test: unit, golden and oracle tests of build/$preset"
# GoogleTest writes one file a program, with every test case; ctest's own file tells of programs
# that died before they could.
GTEST_OUTPUT="json:$results/" ctest --test-dir "build/$preset" --output-on-failure --no-tests=error \
  --output-junit "$results/ctest.xml" -j "$(nproc)" "$@" >"$results/ctest.log" 2>&1 || {
  cat "$results/ctest.log"
  exit 1
}
