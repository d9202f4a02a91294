#!/usr/bin/env bash
# The training pipeline of the pocket checkpoint, whole and small, on a CPU (tools/pocket/smoke.sh), by
# build/train-venv's Python, made once: its packages are 2.4 GB to fetch and 5 GB on disk. Exits 3 where
# they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/train-venv
requirements=tools/pocket/requirements.txt
if ! cmp -s "$requirements" "$venv/.requirements"; then
  free=$(df --output=avail -k . | tail -1)
  if ((free < 10000000)); then
    echo "smoke: training wants 10 GB of disk, $((free / 1000000)) GB are free" >&2
    exit 3
  fi
  echo "smoke: fetching the packages of $requirements into $venv (2.4 GB)"
  rm -rf "$venv"
  python3 -m venv "$venv" &&
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile -r "$requirements" || exit 3
  cp "$requirements" "$venv/.requirements"
fi
rm -rf build/pocket-smoke
PYTHON=$PWD/$venv/bin/python sh tools/pocket/smoke.sh "$PWD/build/pocket-smoke"
# What was exported is what m2 reads.
[[ ! -x build/release/bin/m2 ]] || build/release/bin/m2 check --headers build/pocket-smoke
