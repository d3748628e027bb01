#!/usr/bin/env bash
# Checks what `make` needs before it installs anything, and prints what is missing in one sentence.
#
#     scripts/doctor.sh            checks Java, Python and disk
#     scripts/doctor.sh python     prints the Python 3.11 that it found
set -euo pipefail
cd "$(dirname "$0")/.."

stop() {
    echo "marquee: $*" >&2
    exit 1
}

# .venv takes 7.1 GB, its downloads 1.9 GB (`du -sh .venv ~/.cache/uv` after an install).
needed_gb=10

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() {
    local candidate found=none
    local candidates=(python3.11 python3 python /usr/bin/python3.11 "$HOME"/.pyenv/versions/3.11*/bin/python)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        local version
        version=$(version_of "$candidate") || continue
        found="$version ($candidate)"
        if [ "$version" = 3.11 ]; then
            echo "$candidate"
            return
        fi
    done
    stop "Python 3.11 is needed and $found was found: name one with 'make … PYTHON=/path/to/python3.11'."
}

check_java() {
    local java="${JAVA_HOME:+$JAVA_HOME/bin/}java" version
    command -v "$java" >/dev/null ||
        stop "Java 17 or later is needed by Spark and '$java' was not found: install a JDK, or set JAVA_HOME to one."
    version=$("$java" -version 2>&1 | sed -nE 's/.*version "(1\.)?([0-9]+).*/\2/p' | head -n 1)
    [ "${version:-0}" -ge 17 ] ||
        stop "Java 17 or later is needed by Spark and '$java' is version ${version:-unknown}: set JAVA_HOME to a newer JDK."
}

check_disk() {
    local free_gb needs=1
    [ -e .venv/.ready ] || needs=$needed_gb
    free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
    [ "$free_gb" -ge "$needs" ] ||
        stop "$needs GB of free disk are needed in $PWD and there are $free_gb GB: make room, or clone elsewhere."
}

if [ "${1:-}" = python ]; then
    find_python
else
    find_python >/dev/null
    check_java
    check_disk
fi
