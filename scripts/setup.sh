#!/usr/bin/env bash
# Makes .venv from requirements/cpu.txt alone, and writes the stamp .venv/.ready last.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(scripts/doctor.sh python)

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=.tools/bin/uv
    if [ ! -x "$uv" ]; then
        echo "Installing uv into .tools"
        "$python" -m venv .tools
        .tools/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
    fi
fi

echo "Installing the pinned packages into .venv (about 2 GB to download the first time)"
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" --no-python-downloads .venv
"$uv" pip sync --quiet --python .venv/bin/python --require-hashes requirements/cpu.txt
# Marquee itself, as a link to this clone; the pins include its build backend.
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
touch .venv/.ready
