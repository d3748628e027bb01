"""Decides about a candidate (`marquee judge`) by its estimates (`policy_estimates`, see evaluation/gate.py): stores the
run in MLflow with its figures and its page, registers the version, and promotes it if the verdict is positive. A
refused candidate is registered too, with the reason, but does not score.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from evaluation.gate import ALL, Verdict, verdict
from inference.checkpoint import read_checkpoint
from schemas.contract import ContractError
from schemas.events import report
from schemas.files import read_file
from schemas.settings import Settings
from schemas.store import literal, open_table, rows
from schemas.tables import POLICY_ESTIMATES
from training.registry import Registry

REPORT = "report.html"


def judge(place: str | Path, ds: date, config: Settings) -> Verdict:
    """Decide about the checkpoint in `place`, register it, and promote it if the verdict is positive.

    Raises ContractError if it was not evaluated.
    """
    candidate = read_checkpoint(place).quantized(config.quantization)
    estimates = estimates_of(config.warehouse, ds, candidate.version)
    found = verdict(estimates, candidate.version, config)
    registry = Registry(config.registry, config.checkpoints)
    page = read_file(place, REPORT)
    run = registry.keep_run(
        name=f"{candidate.version} on {ds}",
        figures=_figures(estimates, candidate.version),
        tags={"ds": str(ds), "verdict": str(found)},
        texts={} if page is None else {REPORT: page.decode()},
    )
    version = registry.register(candidate, run, {"verdict": str(found)})
    if found.promoted:
        registry.promote(version)
    report("judge", str(found), promoted=found.promoted)
    return found


def estimates_of(warehouse: str, ds: date, candidate: str) -> list[dict[str, Any]]:
    """The candidate's rows of `policy_estimates`. Raises ContractError if there are none."""
    opened = open_table(warehouse, POLICY_ESTIMATES, remedy="run `marquee evaluate` first")
    condition = f"ds = DATE '{ds}' AND candidate = {literal(candidate)}"
    found = rows(f"SELECT * FROM policy_estimates WHERE {condition}", policy_estimates=opened)
    if not found:
        raise ContractError(
            f"{POLICY_ESTIMATES.name}: nothing about {candidate} for ds={ds}; run `marquee evaluate` first"
        )
    return found


def _figures(estimates: list[dict[str, Any]], candidate: str) -> dict[str, float]:
    """The candidate's overall values and differences, by their names in MLflow."""
    return {
        f"{row['estimator']}_{what}": row[what]
        for row in estimates
        if row["policy"] == candidate and row["slice_by"] == ALL
        for what in ("value", "difference", "difference_low", "difference_high")
        if row[what] is not None
    }
