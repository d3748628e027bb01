"""Whether a candidate is promoted, from its rows of `policy_estimates`. A pure rule: rows in, verdict out.

`marquee judge` acts on the verdict and the page of `marquee report` prints it, with the same settings.
"""

from __future__ import annotations

import math
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
        return f"{self.word}: " + "; ".join(self.reasons)

    @property
    def word(self) -> str:
        return "promoted" if self.promoted else "refused"

    def sentences(self) -> list[str]:
        """The reasons, each with a capital letter and a full stop."""
        return [f"{reason[0].upper()}{reason[1:].removesuffix('.')}." for reason in self.reasons]


def rule(settings: Settings) -> str:
    """The condition of `verdict` with these settings, as a sentence."""
    slices = (
        f", and its difference in each slice by {' and by '.join(settings.gate_slices)} is known and at least "
        f"{-settings.gate_slice_limit:+.4f}"
    )
    return (
        "A candidate is promoted if the whole 95 % interval of its difference to the champion, by "
        f"{settings.gate_estimator}, is above {settings.gate_margin:+.4f}{slices if settings.gate_slices else ''}."
    )


def verdict(estimates: Iterable[Mapping[str, Any]], candidate: str, settings: Settings) -> Verdict:
    """The verdict on `candidate`, from the rows of `policy_estimates` of one run.

    It is promoted if the whole 95 % interval of its difference to the champion, by `gate_estimator`, is above
    `gate_margin`, and the estimated difference is at least -`gate_slice_limit` in every slice of `gate_slices`. It is
    also refused if the difference in such a slice could not be estimated: what it loses there is unknown.
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
        # The rows do not name the champion's policy.
        return Verdict(False, ("the log cannot support an answer about the champion: its own row of the run says why",))
    against = [*_overall_fault(overall, settings), *_slice_faults(of_candidate, settings)]
    return Verdict(False, tuple(against)) if against else Verdict(True, (_sentence(overall),))


def _overall_fault(overall: Mapping[str, Any], settings: Settings) -> list[str]:
    if overall["difference_low"] > settings.gate_margin:
        return []
    return [f"{_sentence(overall)}: the interval does not clear the margin of {settings.gate_margin:+.4f}"]


def _slice_faults(rows: list[Mapping[str, Any]], settings: Settings) -> list[str]:
    missing = [name for name in settings.gate_slices if not any(row["slice_by"] == name for row in rows)]
    found = [_slice_fault(row, settings) for row in rows if row["slice_by"] in settings.gate_slices]
    return [
        *(f"there is no estimate by the slice {name}, which MARQUEE_GATE_SLICES names" for name in missing),
        *(fault for fault in found if fault is not None),
    ]


def _slice_fault(row: Mapping[str, Any], settings: Settings) -> str | None:
    place = f"in the slice {row['slice_by']} = {row['slice']}"
    if row["refused"] is not None or row["difference"] is None or math.isnan(row["difference"]):
        return (
            f"the log cannot support an answer {place}: {row['refused'] or 'The champion has no estimate there.'} "
            f"Log more impressions, or take {row['slice_by']} out of MARQUEE_GATE_SLICES"
        )
    if row["difference"] < -settings.gate_slice_limit:
        return f"{_sentence(row)} {place}: it falls by more than the limit of {settings.gate_slice_limit}"
    return None


def _sentence(row: Mapping[str, Any]) -> str:
    return (
        f"{row['difference']:+.4f} plays an impression against the champion "
        f"({row['difference_low']:+.4f} to {row['difference_high']:+.4f}, {row['estimator']})"
    )
