"""Whether a candidate earns its place, from what `policy_estimates` says of it. A pure rule: rows in, verdict out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.settings import Settings

ALL = "all"


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is promoted, and each reason for it or against it as a sentence."""

    promoted: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return ("promoted: " if self.promoted else "refused: ") + "; ".join(self.reasons)


def verdict(estimates: Iterable[Mapping[str, Any]], candidate: str, settings: Settings) -> Verdict:
    """Judge `candidate` by rows of `policy_estimates` of one run.

    It is promoted if the whole 95 % interval of its difference to the champion, by `gate_estimator`, is above
    `gate_margin`, and in no slice of `gate_slices` the estimated difference is below -`gate_slice_limit`.
    """
    of_candidate = [
        row for row in estimates if row["policy"] == candidate and row["estimator"] == settings.gate_estimator
    ]
    overall = next((row for row in of_candidate if row["slice_by"] == ALL), None)
    if overall is None:
        return Verdict(False, (f"there is no {settings.gate_estimator} estimate of {candidate}",))
    if overall["refused"] is not None:
        return Verdict(False, (f"the log cannot support an answer: {overall['refused']}",))
    if overall["difference_low"] is None:
        # The rows do not say which of their policies the champion is.
        return Verdict(False, ("the log cannot support an answer about the champion: its own row of the run says why",))
    against = [*_overall_fault(overall, settings), *_slice_faults(of_candidate, settings)]
    return Verdict(False, tuple(against)) if against else Verdict(True, (_told(overall),))


def _overall_fault(overall: Mapping[str, Any], settings: Settings) -> list[str]:
    if overall["difference_low"] > settings.gate_margin:
        return []
    return [f"{_told(overall)}: the interval does not clear the margin of {settings.gate_margin:+.4f}"]


def _slice_faults(rows: list[Mapping[str, Any]], settings: Settings) -> list[str]:
    return [
        f"{_told(row)} in the slice {row['slice_by']} = {row['slice']}: "
        f"it falls by more than the limit of {settings.gate_slice_limit}"
        for row in rows
        if row["slice_by"] in settings.gate_slices
        # A slice too small to tell anything neither helps nor hurts.
        and row["refused"] is None
        and row["difference"] is not None
        and row["difference"] < -settings.gate_slice_limit
    ]


def _told(row: Mapping[str, Any]) -> str:
    return (
        f"{row['difference']:+.4f} plays an impression against the champion "
        f"({row['difference_low']:+.4f} to {row['difference_high']:+.4f}, {row['estimator']})"
    )
