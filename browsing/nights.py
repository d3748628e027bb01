"""What a night did: what came, what was rejected and why, what changed, timings, the audit, and each changed pair."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from browsing.pictures import Picture, catalogue_of
from schemas.store import literal, open_table, rows, rows_where
from schemas.tables import ARTWORK_SELECTION_LOG, INPUTS, NIGHT_STEPS, TABLES
from serving.lookup import names_of
from serving.summary import STEPS, NightReport, read_report

_TITLES, _PAIRS = 12, 24
KINDS = ("added", "changed", "removed", "unchanged")


@dataclass(frozen=True)
class Changes:
    """Pairs that a night adds, changes, removes and leaves: of one source, or of one title."""

    name: str
    title_id: str | None
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Changed:
    """One pair that a night decided anew. No picture: it lost its choice."""

    user_id: str
    title_id: str
    title: str
    source: str
    picture: Picture | None


@dataclass(frozen=True)
class PairFilter:
    """Which changed pairs a page shows: of one title or of all, and those after a user and title."""

    title_id: str | None = None
    after: tuple[str, str] | None = None


@dataclass(frozen=True)
class NightPage:
    """`inputs`: table, rows, rejected. `rejects`: table, rule, its meaning, rows. `steps`: step, seconds."""

    report: NightReport
    inputs: list[tuple[str, int, int]]
    rejects: list[tuple[str, str, str, int]]
    by_source: list[Changes]
    by_title: list[Changes]
    steps: list[tuple[str, float]]
    of: PairFilter
    of_title: str | None
    pairs: list[Changed]
    more: tuple[str, str] | None
    """The user and title after which the next page begins; None on the last page."""


def night_page(warehouse: str, ds: date, of: PairFilter) -> NightPage | None:
    """None if no step of that night has run."""
    steps = open_table(warehouse, NIGHT_STEPS)
    if not rows(f"SELECT ds FROM steps WHERE ds = DATE '{ds}' LIMIT 1", steps=steps):
        return None
    report = read_report(warehouse, ds)
    pairs, more = _pairs(warehouse, ds, of)
    ids = {row["title_id"] for row in report.changes} | {pair["title_id"] for pair in pairs}
    ids |= {of.title_id} if of.title_id else set()
    names = names_of(warehouse, ids).titles
    catalogue = catalogue_of(warehouse, {pair["title_id"] for pair in pairs})
    by_title = [Changes(names.get(each, each), each, counts) for each, counts in _sums(report.changes, "title_id")]
    by_title.sort(key=lambda each: -sum(each.counts[:3]))
    return NightPage(
        report=report,
        inputs=[
            (name, report.count("validate", f"rows_{name}"), report.count("validate", f"rejected_{name}"))
            for name in (table.name for table in INPUTS)
            if f"rows_{name}" in report.counts.get("validate", {})
        ],
        rejects=[(each["source_table"], each["rule"], _meaning(each), each["rows"]) for each in report.rejects],
        by_source=[Changes(each, None, counts) for each, counts in _sums(report.changes, "source")],
        by_title=by_title[:_TITLES],
        steps=[(step, sum(taken)) for step in STEPS if (taken := report.step_seconds(step))],
        of=of,
        of_title=names.get(of.title_id, of.title_id) if of.title_id else None,
        pairs=[
            Changed(
                pair["user_id"],
                pair["title_id"],
                catalogue.title(pair["title_id"]),
                pair["source"],
                catalogue.picture(pair["artwork_id"], pair["title_id"]) if pair["artwork_id"] else None,
            )
            for pair in pairs
        ],
        more=more,
    )


def _pairs(warehouse: str, ds: date, of: PairFilter) -> tuple[list[dict[str, Any]], tuple[str, str] | None]:
    """A page of the pairs that the night decided anew, by user and title, and where the next page begins."""
    condition = f"ds = DATE '{ds}'"
    if of.title_id is not None:
        condition += f" AND title_id = {literal(of.title_id)}"
    if of.after:
        user, title = map(literal, of.after)
        condition += f" AND (user_id > {user} OR (user_id = {user} AND title_id > {title}))"
    found = rows_where(warehouse, ARTWORK_SELECTION_LOG, f"{condition} ORDER BY user_id, title_id LIMIT {_PAIRS + 1}")
    shown = found[:_PAIRS]
    return shown, (shown[-1]["user_id"], shown[-1]["title_id"]) if len(found) > _PAIRS else None


def _sums(changes: Iterable[dict[str, Any]], column: str) -> list[tuple[str, tuple[int, ...]]]:
    found: dict[str, list[int]] = {}
    for row in changes:
        sums = found.setdefault(row[column], [0] * len(KINDS))
        for place, kind in enumerate(KINDS):
            sums[place] += row[kind]
    return [(name, tuple(sums)) for name, sums in sorted(found.items())]


def _meaning(reject: dict[str, Any]) -> str:
    """What the rule demands, in the contract's words."""
    table = TABLES.get(reject["source_table"])
    return next((rule.meaning for rule in table.rules if rule.name == reject["rule"]), "") if table else ""
