#!/usr/bin/env bash
# Pins every package with its hashes: requirements/cpu.txt (a laptop, and all that develops Marquee), requirements/gpu.txt
# (a machine that scores) and requirements/uv.txt (what installs them).
#
# uv.lock names the registry that it was resolved from, so it stays here; the exported files do not.
set -euo pipefail
cd "$(dirname "$0")/.."

export_pins() {
    local file=$1
    shift
    {
        echo "# Made by 'make lock' from pyproject.toml: uv export $*"
        uv export --quiet --no-header --no-emit-project "$@"
    } > "$file.part"
    mv "$file.part" "$file"
}

uv lock "$@"
export_pins requirements/cpu.txt --extra cpu --extra training --group dev
export_pins requirements/gpu.txt --extra gpu --extra training --no-dev
uv --version | awk '{ print "uv==" $2 }' |
    uv pip compile --quiet --no-header --no-emit-index-url --generate-hashes --python-version 3.11 - -o requirements/uv.txt
