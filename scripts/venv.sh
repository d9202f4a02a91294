#!/usr/bin/env bash
# Makes .venv with the Python packages that the tests use (tests/requirements.txt), once.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv/.requirements
cmp -s tests/requirements.txt "$stamp" && exit 0
echo "test: fetching the Python packages of tests/requirements.txt into .venv"
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
cp tests/requirements.txt "$stamp"
