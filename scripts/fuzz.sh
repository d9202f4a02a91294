#!/usr/bin/env bash
# Builds the libFuzzer targets and runs each for FUZZ_SECONDS (30), as many at once as there are
# cores. Inputs that found something new are kept in build/fuzz/corpus, crashes in build/fuzz/crashes.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
mapfile -t targets < <(basename -s .cc -a tests/fuzz/*_fuzz.cc)
scripts/build.sh fuzz "${targets[@]}"
mkdir -p build/fuzz/crashes

fuzz_one() {
  local name=$1 corpus=build/fuzz/corpus/$1 seeds=()
  mkdir -p "$corpus"
  [[ -d tests/fuzz/corpus/$name ]] && seeds=("tests/fuzz/corpus/$name")
  echo "fuzz: $name for $seconds s"
  # Leaks are found by the sanitizer tree's unit tests; here the check would slow each input.
  if ! "build/fuzz/bin/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 \
    -detect_leaks=0 -print_final_stats=1 -artifact_prefix="build/fuzz/crashes/$name-" \
    "$corpus" "${seeds[@]}" >"build/fuzz/$name.log" 2>&1; then
    tail -n 40 "build/fuzz/$name.log"
    echo "fuzz: $name failed; the input is in build/fuzz/crashes"
    return 1
  fi
}

status=0
running=0
for name in "${targets[@]}"; do
  if ((running >= $(nproc))); then
    wait -n || status=1
    running=$((running - 1))
  fi
  fuzz_one "$name" &
  running=$((running + 1))
done
for ((; running > 0; running--)); do wait -n || status=1; done
exit $status
