#!/usr/bin/env bash
# Makes an environment from pinned packages alone, and writes the stamp .ready in it last.
#
#     scripts/setup.sh                  a laptop: .venv, from requirements/cpu.txt
#     scripts/setup.sh cluster          a scheduler and Spark's drivers: .venv, from requirements/cluster.txt
#     scripts/setup.sh gpu .venv-gpu    scoring and training, for MARQUEE_SCORING_PYTHON: from requirements/gpu.txt
set -euo pipefail
cd "$(dirname "$0")/.."
pins=requirements/${1:-cpu}.txt venv=${2:-.venv}
if [ ! -f "$pins" ]; then
    echo "marquee: there is no $pins: give cpu, cluster or gpu" >&2
    exit 1
fi
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

echo "Installing the packages of $pins into $venv (about 2 GB to download the first time)"
[ -x "$venv/bin/python" ] || "$uv" venv --quiet --python "$python" --no-python-downloads "$venv"
"$uv" pip sync --quiet --python "$venv/bin/python" --require-hashes "$pins"
# Marquee itself, as a link to this clone; the pins include its build backend.
"$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
touch "$venv/.ready"
