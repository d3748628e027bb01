"""How a benchmark tells what it measured: what was run and where, and Markdown tables, to be kept as they stand."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime


def told_run() -> str:
    """The command, when it was run, the machine's processors, and how busy it was just before: 0 is idle."""
    command = " ".join(["python", *sys.orig_argv[1:]])
    load = os.getloadavg()[0]
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors, load {load:.1f}: {command}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table that also reads well in a terminal. The first `texts` columns are text, the others numbers."""
    cells = [list(columns), *map(list, rows)]
    widths = [max(3, *(len(row[place]) for row in cells)) for place in range(len(columns))]
    ruler = ["-" * width if place < texts else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    lines = []
    for row in (cells[0], ruler, *cells[1:]):
        padded = [
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join(lines)


def ratio(one: float, other: float) -> str:
    """The first over the other; a dash where there is nothing to divide by."""
    return f"{one / other:.2f}" if other else "–"
