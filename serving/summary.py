"""A night's summary: rows in, rejected, pairs, scored, carried, published, checks, and seconds per step (`marquee
summary`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from schemas import tables
from schemas.contract import ContractError
from schemas.steps import failed_step
from schemas.store import rows_of_day, rows_where

STEPS = ("validate", "candidates", "contexts", "score", "audit", "publish")

# Titles shown of those that a night changes.
_TITLES = 5


@dataclass(frozen=True)
class NightReport:
    """A night's own records: counts and seconds by step, checks, scored buckets, and rejects by rule."""

    ds: date
    counts: dict[str, dict[str, int]]
    seconds: dict[str, float]
    failures: dict[str, str]
    model: dict[str, Any] | None
    checks: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    scoring: dict[str, Any]
    rejects: list[dict[str, Any]]

    def count(self, step: str, name: str) -> int:
        """The sum over a step's tasks: `score` is one task per shard."""
        return sum(counts.get(name, 0) for task, counts in self.counts.items() if step_of(task) == step)

    def step_seconds(self, step: str) -> list[float]:
        return [seconds for task, seconds in self.seconds.items() if step_of(task) == step]


def step_of(task: str) -> str:
    """The step of a row of `night_steps`: each shard of the step score has a row."""
    return "score" if task.startswith("score_") else task


def read_report(warehouse: str, ds: date) -> NightReport:
    noted = rows_of_day(warehouse, tables.NIGHT_STEPS, ds)
    # An earlier version of Marquee noted no failures.
    steps = [step for step in noted if not step.get("failed")]
    if not noted:
        raise ContractError(f"night_steps: no step of ds={ds} has been run in {warehouse}")
    scoring = rows_of_day(
        warehouse,
        tables.SCORING_RUNS,
        ds,
        "sum(pairs) AS pairs, sum(prompt_tokens) AS prompt_tokens, sum(cached_tokens) AS cached_tokens, "
        "sum(shortened) AS shortened, sum(seconds) AS seconds, sum(label_mass * pairs) / sum(pairs) AS label_mass",
    )[0]
    return NightReport(
        ds,
        counts={step["step"]: dict(step["counts"]) for step in steps},
        seconds={step["step"]: step["seconds"] for step in steps},
        failures={failed_step(step["step"]): step["failed"] for step in noted if step.get("failed")},
        model=next(iter(rows_of_day(warehouse, tables.NIGHT_MODELS, ds, "*")), None),
        checks=rows_of_day(warehouse, tables.AUDIT_RESULTS, ds),
        changes=rows_where(warehouse, tables.NIGHT_CHANGES, f"ds = DATE '{ds}'"),
        scoring=scoring,
        rejects=rows_of_day(
            warehouse,
            tables.REJECTED_ROWS,
            ds,
            "source_table, rule, count(*) AS rows",
            "AND step IN ('validate', 'contexts', 'score') GROUP BY source_table, rule",
        ),
    )


def summary_tables(warehouse: str, ds: date) -> Group:
    """A night's records as tables for people. Raises ContractError if no step of it has run."""
    report = read_report(warehouse, ds)
    sections = [
        _inputs(report),
        _model(report),
        _rejects(report),
        _pairs(report),
        _scoring(report),
        _changes(report),
        _checks(report),
        _seconds(report),
        *(f"[bold red]{step} failed[/bold red]: {escape(why)}" for step, why in sorted(report.failures.items())),
    ]
    return Group(*(part for section in sections if section is not None for part in (section, "")))


def _table(heading: str, *columns: str) -> Table:
    table = Table(title=heading, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", min_width=0 if index else 28)
    return table


def _inputs(report: NightReport) -> Table:
    erased = any(name.startswith("erased_") for name in report.counts.get("validate", {}))
    headings = ("rows", "rejected", *(("of erased users",) if erased else ()))
    table = _table(f"The night of {report.ds}", "rows in", *headings)
    for source in tables.INPUTS:
        if f"rows_{source.name}" in report.counts.get("validate", {}):
            kinds = ("rows", "rejected", *(("erased",) if erased else ()))
            table.add_row(source.name, *(f"{report.count('validate', f'{kind}_{source.name}'):,}" for kind in kinds))
    if report.counts.get("validate", {}).get(f"rows_{tables.VIEWING_HISTORY.name}") == 0:
        table.caption = "Nobody has watched anything yet: only titles of title_candidates get choices."
    return table


def _model(report: NightReport) -> str | None:
    if report.model is None:
        return None
    return f"scored by {escape(report.model['model_version'])}: {escape(report.model.get('why') or 'no reason noted')}"


def _rejects(report: NightReport) -> Table | None:
    if not report.rejects:
        return None
    table = _table("", "rejected: from", "rule", "rows")
    for reject in sorted(report.rejects, key=lambda r: (r["source_table"], r["rule"])):
        table.add_row(reject["source_table"], reject["rule"], f"{reject['rows']:,}")
    return table


def _pairs(report: NightReport) -> Table:
    table = _table("", "pairs", "")
    for meaning, step, name in (
        ("wanted", "contexts", "pairs_wanted"),
        ("to be scored", "contexts", "pairs_to_score"),
        ("carried over, unchanged", "contexts", "pairs_carried"),
        ("with one artwork", "contexts", "pairs_only_choice"),
        ("of the exploring slice", "contexts", "pairs_uniform"),
        ("without an artwork, rejected", "contexts", "pairs_no_active_artwork"),
        ("scored now", "score", "pairs"),
        ("of these in further rotations", "score", "asked_again"),
        ("that could not be scored", "score", "rejected"),
        ("published: new", "publish", "inserted"),
        ("published: changed", "publish", "updated"),
        ("published: removed", "publish", "deleted"),
        ("published: unchanged", "publish", "unchanged"),
    ):
        table.add_row(meaning, f"{report.count(step, name):,}")
    return table


def _scoring(report: NightReport) -> Table | None:
    run = report.scoring
    if not run["pairs"]:
        return None
    table = _table("", "scoring", "")
    table.add_row("pairs per second", f"{run['pairs'] / max(run['seconds'], 1e-9):,.1f}")
    table.add_row("tokens of all prompts", f"{run['prompt_tokens']:,}")
    table.add_row("of these from the cache", f"{run['cached_tokens'] / max(run['prompt_tokens'], 1):.1%}")
    table.add_row("shortened prompts", f"{run['shortened']:,}")
    table.add_row("probability on the options", f"{run['label_mass']:.4f}")
    memory = max((counts.get("peak_rss_mb", 0) for counts in report.counts.values()), default=0)
    table.add_row("peak memory of a task", f"{memory:,} MB")
    return table


def _changes(report: NightReport) -> Table | None:
    """What the night changes, by source, and the titles of which it changes most."""
    if not report.changes:
        return None
    columns = ("added", "changed", "removed", "unchanged")
    table = _table("", "what it changes: pairs by source", *columns, "entropy")
    for name, rows in _grouped(report.changes, "source"):
        spread = [(row["entropy"], sum(row[each] for each in columns)) for row in rows if row["entropy"] is not None]
        mean = sum(value * pairs for value, pairs in spread) / sum(pairs for _, pairs in spread) if spread else None
        table.add_row(name, *_sums(rows, columns), "" if mean is None else f"{mean:.3f}")
    table.add_section()
    titles = _grouped(report.changes, "title_id")
    titles.sort(key=lambda each: -sum(row[name] for row in each[1] for name in columns[:3]))
    for name, rows in titles[:_TITLES]:
        table.add_row(escape(f"title {name}"), *_sums(rows, columns), "")
    users, changed = report.count("audit", "users"), report.count("audit", "users_changed")
    table.caption = f"choices of {changed:,} of {users:,} users change"
    table.caption_justify = "left"
    return table


def _grouped(rows: Iterable[dict[str, Any]], column: str) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=itemgetter(column)):
        groups.setdefault(row[column], []).append(row)
    return list(groups.items())


def _sums(rows: Iterable[dict[str, Any]], columns: Iterable[str]) -> list[str]:
    return [f"{sum(row[name] for row in rows):,}" for name in columns]


def _checks(report: NightReport) -> Table | None:
    if not report.checks:
        return None
    table = _table("", "audit", "found", "expected", "limit", "")
    for check in sorted(report.checks, key=lambda c: (c["passed"], c["check"])):
        verdict = "passed" if check["passed"] else "[bold red]failed[/bold red]"
        # An earlier version of Marquee kept neither what it expected nor what was accepted.
        if accepted := check.get("accepted"):
            verdict = f"accepted: {escape(accepted)}"
        expected = "" if check.get("expected") is None else f"{check['expected']:.4g}"
        table.add_row(check["check"], f"{check['value']:.4g}", expected, f"{check['limit']:.4g}", verdict)
    table.caption = (
        "limit: of what was found or, where a value is expected, of the distance to it. expected: as in the last "
        "published nights, or 0. accepted: by marquee accept, with its reason."
    )
    table.caption_justify = "left"
    return table


def _seconds(report: NightReport) -> Table:
    table = _table("", "step", "seconds")
    for step in STEPS:
        taken = report.step_seconds(step)
        if taken:
            shards = f" ({len(taken)} shards)" if len(taken) > 1 else ""
            table.add_row(step + shards, f"{_total(taken):.1f}")
    table.add_row("all steps, without their starts", f"{_total(report.seconds.values()):.1f}")
    return table


def _total(seconds: Iterable[float]) -> float:
    return float(sum(seconds))
