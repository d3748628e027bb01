"""Whether a candidate is promoted, from its rows of `policy_estimates`. A pure rule: rows in, verdict out.

`marquee judge` acts on the verdict and the page of `marquee report` prints it, with the same settings. The gain must be
shown over the whole log; a loss must be shown in a slice (docs/evaluation.md has the reason).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from schemas.settings import Settings

ALL = "all"
_ERROR = 0.05  # of the intervals: one in twenty does not contain the truth


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
        f", and no slice by {' or by '.join(settings.gate_slices)} is shown to lose: its difference is known, and not "
        f"both under {-settings.gate_slice_limit:+.4f} and clear of zero (95 % for all slices together)"
    )
    return (
        "A candidate is promoted if the whole 95 % interval of its difference to the champion, by "
        f"{settings.gate_estimator}, is above {settings.gate_margin:+.4f}{slices if settings.gate_slices else ''}."
    )


def verdict(estimates: Iterable[Mapping[str, Any]], candidate: str, settings: Settings) -> Verdict:
    """The verdict on `candidate`, from the rows of `policy_estimates` of one run.

    It is promoted if the whole 95 % interval of its difference to the champion, by `gate_estimator`, is above
    `gate_margin`, and it loses in no slice of `gate_slices`: there, a difference under -`gate_slice_limit` whose
    interval is below zero refuses, and so does one that could not be estimated. The intervals of slices are widened so
    that all of them hold together at 95 %. A promotion names the slices that may lose more than the limit.
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
    slices = [row for row in of_candidate if row["slice_by"] in settings.gate_slices]
    against = [*_overall_fault(overall, settings), *_slice_faults(slices, settings)]
    if against:
        return Verdict(False, tuple(against))
    return Verdict(True, (_sentence(overall), *_undecided(slices, settings)))


def _overall_fault(overall: Mapping[str, Any], settings: Settings) -> list[str]:
    if overall["difference_low"] > settings.gate_margin:
        return []
    return [f"{_sentence(overall)}: the interval does not clear the margin of {settings.gate_margin:+.4f}"]


def _slice_faults(slices: list[Mapping[str, Any]], settings: Settings) -> list[str]:
    missing = [name for name in settings.gate_slices if not any(row["slice_by"] == name for row in slices)]
    found = [_slice_fault(row, len(slices), settings) for row in slices]
    return [
        *(f"there is no estimate by the slice {name}, which MARQUEE_GATE_SLICES names" for name in missing),
        *(fault for fault in found if fault is not None),
    ]


def _slice_fault(row: Mapping[str, Any], slices: int, settings: Settings) -> str | None:
    place = f"in the slice {_place(row)}"
    if any(row[name] is None or math.isnan(row[name]) for name in ("difference", "difference_low", "difference_high")):
        return (
            f"the log cannot support an answer {place}: {row['refused'] or 'The champion has no estimate there.'} "
            f"Log more impressions, or take {row['slice_by']} out of MARQUEE_GATE_SLICES"
        )
    together = _together(row, slices)
    if row["difference"] < -settings.gate_slice_limit and together["difference_high"] < 0:
        return f"{_sentence(together)} {place}: it falls by more than the limit of {settings.gate_slice_limit}"
    return None


def _undecided(slices: list[Mapping[str, Any]], settings: Settings) -> list[str]:
    """A sentence on the slices whose intervals contain a loss of more than the limit, if there are any."""
    places = [
        f"{_place(row)} ({row['difference_low']:+.4f} to {row['difference_high']:+.4f})"
        for row in (_together(row, len(slices)) for row in slices)
        if row["difference_low"] < -settings.gate_slice_limit
    ]
    sentence = f"a loss of more than {settings.gate_slice_limit} is neither shown nor excluded in {', '.join(places)}"
    return [sentence] if places else []


def _together(row: Mapping[str, Any], slices: int) -> dict[str, Any]:
    """A slice's row with the interval that holds together with those of all `slices` (Bonferroni). The normal
    distribution's ratio of widths is slightly less than Student's, so that a loss is shown a little sooner.
    """
    wider = NormalDist().inv_cdf(1 - _ERROR / 2 / slices) / NormalDist().inv_cdf(1 - _ERROR / 2)
    middle = row["difference"]
    ends = {name: middle + wider * (row[name] - middle) for name in ("difference_low", "difference_high")}
    return {**row, **ends}


def _place(row: Mapping[str, Any]) -> str:
    return f"{row['slice_by']} = {row['slice']}"


def _sentence(row: Mapping[str, Any]) -> str:
    return (
        f"{row['difference']:+.4f} plays an impression against the champion "
        f"({row['difference_low']:+.4f} to {row['difference_high']:+.4f}, {row['estimator']})"
    )
