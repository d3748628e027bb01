"""The last nights side by side, as a table and as a picture (`marquee nights`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table

from schemas.contract import ContractError
from schemas.steps import failed_step
from schemas.store import open_table, rows, rows_where
from schemas.tables import AUDIT_RESULTS, INPUTS, NIGHT_STEPS, SCORING_RUNS
from serving.summary import STEPS, step_of

_CHANGES = ("inserted", "updated", "deleted")


@dataclass(frozen=True)
class NightSummary:
    """One night in figures: counts of rows and pairs, seconds by step, and the audit's verdict."""

    ds: date
    seconds: dict[str, float]
    counts: dict[str, dict[str, int]]
    cached_share: float | None
    """Share of the prompts' tokens that were in the prefix cache; None if nothing was scored."""
    verdict: str
    failed: tuple[str, ...]
    """The steps whose last run failed."""

    def count(self, step: str, *names: str) -> int:
        return sum(self.counts.get(step, {}).get(name, 0) for name in names)

    @property
    def rows_in(self) -> int:
        return self.count("validate", *(f"rows_{table.name}" for table in INPUTS))

    @property
    def rejected(self) -> int:
        return self.count("validate", *(f"rejected_{table.name}" for table in INPUTS)) + self.count("score", "rejected")

    @property
    def changed_share(self) -> float | None:
        """Share of the standing pairs that the night changed; None before it is published."""
        standing = self.count("publish", *_CHANGES, "unchanged")
        return self.count("publish", *_CHANGES) / standing if standing else None

    @property
    def end(self) -> str:
        """`published`, `undone`, or the last step that succeeded; and the steps that have failed."""
        done = [step for step in STEPS if step in self.seconds]
        ends = [f"{step} failed" for step in self.failed]
        if "publish" in done:
            ends.insert(0, "published")
        elif "undo" in self.seconds:
            ends.insert(0, "undone")
        return "; ".join(ends or [f"ended after {done[-1]}"])


def last_nights(warehouse: str, number: int) -> list[NightSummary]:
    """The last `number` nights that have begun, the latest last. Raises ContractError if none has."""
    steps = open_table(warehouse, NIGHT_STEPS)
    days = rows(f"SELECT DISTINCT ds FROM steps ORDER BY ds DESC LIMIT {number}", steps=steps)
    if not days:
        raise ContractError(f"night_steps: no night has been run in {warehouse}")
    since = f"ds >= DATE '{days[-1]['ds']}'"
    seconds: dict[date, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    counts: dict[date, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    failed = defaultdict(list)
    for row in rows_where(warehouse, NIGHT_STEPS, f"{since} ORDER BY step"):
        if row.get("failed"):
            failed[row["ds"]].append(failed_step(row["step"]))
            continue
        step = step_of(row["step"])
        seconds[row["ds"]][step] += row["seconds"]
        for name, count in row["counts"]:
            counts[row["ds"]][step][name] += count
    checks, tokens = defaultdict(list), defaultdict(list)
    for row in rows_where(warehouse, AUDIT_RESULTS, since):
        checks[row["ds"]].append(row)
    for row in rows_where(warehouse, SCORING_RUNS, since):
        tokens[row["ds"]].append((row["cached_tokens"], row["prompt_tokens"]))
    return [
        NightSummary(
            ds, dict(seconds[ds]), dict(counts[ds]), _share(tokens[ds]), _verdict(checks[ds]), tuple(failed[ds])
        )
        for ds in sorted(row["ds"] for row in days)
    ]


def _share(tokens: Sequence[tuple[int, int]]) -> float | None:
    prompts = sum(all_ for _, all_ in tokens)
    return sum(cached for cached, _ in tokens) / prompts if prompts else None


def _verdict(checks: Sequence[dict[str, Any]]) -> str:
    if not checks:
        return ""
    if failed := sum(not check["passed"] for check in checks):
        return f"{failed} failed"
    accepted = sum(check.get("accepted") is not None for check in checks)
    return f"passed, {accepted} accepted" if accepted else "passed"


def nights_table(nights: Sequence[NightSummary]) -> Table:
    """The nights for people, one a row."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("night")
    for heading in ("rows in", "rejected", "wanted", "scored", "carried", "changed", "cached", "seconds", "scoring"):
        table.add_column(heading, justify="right")
    table.add_column("audit")
    table.add_column("")
    for night in nights:
        table.add_row(
            str(night.ds),
            f"{night.rows_in:,}",
            f"{night.rejected:,}",
            f"{night.count('contexts', 'pairs_wanted'):,}",
            f"{night.count('score', 'pairs'):,}",
            f"{night.count('contexts', 'pairs_carried'):,}",
            *("" if share is None else f"{share:.1%}" for share in (night.changed_share, night.cached_share)),
            f"{sum(night.seconds.values()):,.0f}",
            f"{night.seconds.get('score', 0):,.0f}",
            night.verdict,
            night.end,
        )
    table.caption = (
        "wanted, scored, carried: pairs. changed: share of all pairs. cached: share of the prompts' tokens. "
        "seconds: of all steps, without their starts. scoring: of all engines."
    )
    table.caption_justify = "left"
    return table


def draw(nights: Sequence[NightSummary], file: Path) -> None:
    """Pairs, shares and seconds of the nights, one below the other. The suffix of `file` is the format.

    Raises ContractError if that cannot be drawn or written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    pairs, shares, seconds = figure.subplots(3, 1, sharex=True)
    days = [f"{night.ds:%d %b}" for night in nights]
    _stack(
        pairs,
        days,
        {
            "scored": [night.count("score", "pairs") for night in nights],
            "carried over": [night.count("contexts", "pairs_carried") for night in nights],
            "exploring": [night.count("contexts", "pairs_uniform") for night in nights],
            "one artwork": [night.count("contexts", "pairs_only_choice") for night in nights],
        },
    )
    pairs.set_title("Wanted pairs", loc="left")
    pairs.yaxis.set_major_formatter("{x:,.0f}")
    for name, values in (
        ("pairs changed", [night.changed_share for night in nights]),
        ("prompt tokens cached", [night.cached_share for night in nights]),
    ):
        percent = [float("nan") if value is None else 100 * value for value in values]
        shares.plot(days, percent, "o-", label=name, clip_on=False)
    shares.set_ylim(0, 100)
    shares.set_title("Shares, %", loc="left")
    _stack(seconds, days, {step: [night.seconds.get(step, 0.0) for night in nights] for step in STEPS})
    seconds.set_title("Seconds by step", loc="left")
    seconds.yaxis.set_major_formatter("{x:,.0f}")
    for axes in (pairs, shares, seconds):
        axes.spines[["top", "right"]].set_visible(False)
        # As stacked: the first below.
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, reverse=axes is not shares)
    # Of few nights, bars as narrow as of several.
    seconds.set_xlim(-0.6, max(len(nights), 6) - 0.4)
    seconds.tick_params(axis="x", rotation=90 if len(nights) > 8 else 0)
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as error:
        raise ContractError(f"--plot {file}: {error}") from error


def _stack(axes: Any, days: Sequence[str], parts: dict[str, list[float]]) -> None:
    below = [0.0] * len(days)
    for name, values in parts.items():
        axes.bar(days, values, bottom=below, label=name)
        below = [low + value for low, value in zip(below, values, strict=True)]
