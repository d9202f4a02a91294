#!/usr/bin/env bash
# `make test`: unit, golden and oracle tests (ctest), then end-to-end tests (pytest) against the
# real programs. Its last line counts test cases: "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
scripts/venv.sh
scripts/build.sh release

results=$PWD/build/release/results
rm -rf "$results"
mkdir -p "$results"
failed=0

scripts/unit_tests.sh release "$results" || failed=1

echo "test: tools"
tools=(tools/*_test.py)
compgen -G 'tests/tools/*_test.py' >/dev/null && tools+=(tests/tools/*_test.py)
.venv/bin/python -m pytest -q --no-header -p no:cacheprovider "${tools[@]}" \
  --junitxml "$results/tools.xml" || failed=1

echo "test: end to end"
.venv/bin/python -m pytest -q --no-header -p no:cacheprovider tests/e2e \
  --junitxml "$results/e2e.xml" || failed=1

# pytest's own status is kept apart from the counts: a crash before any test must not pass.
python3 scripts/count_tests.py "$results" || failed=1
exit $failed
