"""Pins every package with its hashes: requirements/cpu.txt (a laptop, and Marquee's development),
requirements/cluster.txt (the scheduler and Spark), requirements/gpu.txt (a machine that scores and trains) and
requirements/uv.txt (uv, which installs them). Options are passed on to `uv lock`.

uv.lock names the registry that it was resolved from, so it is not tracked; the exported files do not name it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import PIPE, run

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
EXPORTS = {
    "cpu": ["--extra", "airflow", "--extra", "spark", "--extra", "cpu", "--extra", "training", "--group", "dev"],
    "cluster": ["--extra", "airflow", "--extra", "spark", "--no-dev", "--group", "build"],
    "gpu": ["--extra", "gpu", "--extra", "training", "--no-dev", "--group", "build"],
}


def uv(*arguments: str, given: str | None = None) -> str:
    return run(["uv", *arguments], check=True, text=True, input=given, stdout=PIPE).stdout


def main() -> None:
    uv("lock", *sys.argv[1:])
    for name, options in EXPORTS.items():
        pins = uv("export", "--quiet", "--no-header", "--no-emit-project", *options)
        head = f"# Made by 'make lock' from pyproject.toml: uv export {' '.join(options)}\n"
        (REQUIREMENTS / f"{name}.txt").write_text(head + pins)
    version = uv("--version").split()[1]
    options = ["--quiet", "--no-header", "--no-emit-index-url", "--generate-hashes", "--python-version", "3.11"]
    (REQUIREMENTS / "uv.txt").write_text(uv("pip", "compile", *options, "-", given=f"uv=={version}"))


if __name__ == "__main__":
    main()
