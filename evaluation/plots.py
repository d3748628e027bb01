"""Plots as inline SVG: text takes the page's colour, marks the page's `--mark-N`."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Placeholder colours; `_inline` replaces them by the page's own.
_TEXT = "#010203"
_GRID = "#010204"
_MARKS = ("#010205", "#010206", "#010207", "#010208", "#010209", "#01020a")
_WIDTH = 4.6  # inches: narrow, so that text stays readable when a phone shrinks it
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # Names come from users: keep matplotlib from reading $ as mathematics.
    "text.parse_math": False,
    "font.size": 9,
    "figure.labelsize": "medium",
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _GRID,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Span:
    """A value with its interval, on its own line; `known` is the true value, if known."""

    name: str
    value: float
    low: float
    high: float
    known: float | None = None


@mpl.rc_context(_STYLE)
def spans(title: str, rows: Sequence[Span], unit: str) -> str:
    """Values with intervals, one below the other, around a line at 0; empty without rows."""
    if not rows:
        return ""
    figure, axes = _axes(0.8 + 0.3 * len(rows))
    for place, row in enumerate(rows):
        axes.plot([row.low, row.high], [place, place], color=_MARKS[0], linewidth=2.5, solid_capstyle="butt")
        axes.plot([row.value], [place], "o", color=_MARKS[0], markersize=5)
        if row.known is not None:
            axes.plot([row.known], [place], "D", color=_MARKS[1], markersize=5, fillstyle="none", markeredgewidth=1.5)
    axes.axvline(0, color=_TEXT, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    # A label under the axes would be cut off beside long names, so it goes under the whole figure.
    figure.supxlabel(unit)
    axes.tick_params(axis="y", length=0)
    return _inline(figure, title)


@mpl.rc_context(_STYLE)
def curves(
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str,
    y: str,
    level: float | None = None,
) -> str:
    """Lines on shared axes, with a dotted horizontal line at `level`; empty without series."""
    if not series:
        return ""
    figure, axes = _axes(2.4 + (0.2 * len(series) if len(series) > 1 else 0))
    for (name, (xs, ys)), colour in zip(series.items(), _MARKS, strict=False):
        axes.plot(xs, ys, color=colour, linewidth=1.6, marker="o" if len(xs) < 20 else "", markersize=3.5, label=name)
    if level is not None:
        axes.axhline(level, color=_TEXT, linewidth=0.8, linestyle=":")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(series) > 1:
        figure.legend(loc="outside upper center", frameon=False, fontsize=8)
    return _inline(figure, title)


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(axis="both", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _inline(figure: Figure, title: str) -> str:
    page = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": f"marquee {title}"}):
        figure.savefig(page, format="svg", transparent=True, metadata=nothing)
    svg = page.getvalue()[page.getvalue().index("<svg") :]
    opened = f'role="img" aria-label="{escape(title)}">'
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', lambda found: f'<svg viewBox="{found[1]}" {opened}', svg)
    for stand_in, colour in [(_TEXT, "currentColor"), (_GRID, "var(--line)")]:
        svg = svg.replace(stand_in, colour)
    for number, stand_in in enumerate(_MARKS, start=1):
        svg = svg.replace(stand_in, f"var(--mark-{number})")
    # References within an SVG need no namespace in HTML.
    return svg.replace("xlink:href", "href")
