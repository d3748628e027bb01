"""What all benchmarks share: options, repeated runs in alternating order, printed tables and a JSON result."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from statistics import median
from typing import TypeVar

from schemas.exit_codes import exit_status

Cell = str | int | float | None
Row = dict[str, Cell]
Table = tuple[str, Sequence[Row]]
"""A title, and rows that all have the same columns."""
Measure = Callable[[argparse.Namespace, Path], Iterator[Table]]
"""A benchmark's own part: it takes the parsed arguments and an empty folder, and yields tables."""
Run = TypeVar("Run")

RESULTS = Path(__file__).resolve().parent / "results"


def parser(name: str, document: str | None) -> argparse.ArgumentParser:
    """The command line of the benchmark `name`, with the options that every benchmark has."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    made = argparse.ArgumentParser(f"marquee bench {name}", description=document, formatter_class=formatter)
    made.add_argument("--scratch", type=Path, help="an existing folder for temporary tables, instead of the system's")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON result")
    return made


def run(parser: argparse.ArgumentParser, arguments: list[str], measure: Measure) -> int:
    """Print each table that `measure` yields, write those so far to one JSON file, and return the exit status."""
    parsed = parser.parse_args(arguments)
    name = parser.prog.rpartition(" ")[2]

    def work() -> None:
        began = datetime.now(UTC)
        about = {
            "command": shlex.join([*parser.prog.split(), *arguments]),
            "began": f"{began:%Y-%m-%d %H:%M} UTC",
            "commit": commit(),
            "machine": machine(),
            "versions": versions("pyspark", "torch", "vllm"),
            "load": os.getloadavg()[0],
        }
        print(*(f"{key}: {value}" for key, value in about.items()), sep="\n", flush=True)
        tables = {}
        file = parsed.results / f"{name}-{began:%Y%m%dT%H%M%S}.json"
        with tempfile.TemporaryDirectory(prefix=f"marquee-{name}-", dir=parsed.scratch) as folder:
            for title, rows in measure(parsed, Path(folder)):
                print(f"\n{title}\n\n{markdown(rows)}", flush=True)
                tables[title] = list(rows)
                # Written after each table: the machine may be gone before the last one.
                parsed.results.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps({**about, "tables": tables}, indent=1, ensure_ascii=False) + "\n")
        print(f"\nresult: {file}")

    return exit_status(name, work)


def commit() -> str:
    """The checked-out commit, with `-dirty` if files differ from it; `unknown` outside a git checkout."""
    return _printed("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*") or "unknown"


def machine() -> str:
    """The machine's processors, memory and GPUs."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = _printed("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    return ", ".join([f"{os.cpu_count()} × {model[1] if model else 'processor'}", f"{memory:.0f} GiB", *gpus])


def versions(*packages: str) -> str:
    """The versions of those packages that are installed, whatever the names of their distributions."""
    found = packages_distributions()
    return ", ".join(f"{name} {version(found[name][0])}" for name in packages if name in found)


def _printed(*command: str) -> str:
    """The output of a command; empty if it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False).stdout.strip()


def alternating(sides: Mapping[str, Callable[[], Run]], repeats: int) -> dict[str, list[Run]]:
    """Run every side `repeats` times; every second round is reversed, so that no side is always first."""
    found: dict[str, list[Run]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in list(sides)[:: -1 if repeat % 2 else 1]:
            print(f"running {name}, {repeat + 1} of {repeats}", flush=True)
            found[name].append(sides[name]())
    return found


def timing(seconds: Sequence[float], reference: Sequence[float]) -> Row:
    """Cells of a side's times: median, range, and the median over the reference's median."""
    return {**spread(seconds), "over Marquee": ratio(median(seconds), median(reference))}


def spread(seconds: Sequence[float]) -> Row:
    return {"seconds": median(seconds), "lowest": min(seconds), "highest": max(seconds)}


def ratio(one: float | None, other: float | None) -> float | None:
    """`one` over `other`; None if either is unknown or `other` is 0."""
    return one / other if one is not None and other else None


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table that also reads well in a terminal."""
    lines = [list(rows[0]), *([_text(cell) for cell in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * max(width, 3) for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def _text(cell: Cell) -> str:
    if cell is None or isinstance(cell, str):
        return cell or "–"
    return f"{cell:.3g}" if isinstance(cell, float) and abs(cell) < 100 else f"{cell:,.0f}"
