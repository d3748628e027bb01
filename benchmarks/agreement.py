"""Whether two sides that scored the same pairs say the same of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.contract import ContractError

type_scores = list[dict[str, Any]]
"""Rows of benchmarks/peers/job.py: SCORES."""


@dataclass(frozen=True)
class Agreement:
    """`largest`: of the differences between two probabilities of one option; None where a side only gives answers."""

    pairs: int
    largest: float | None
    answered: int
    """Answers that could be parsed, of a side that gives answers."""
    best: int
    """Of these, answers that are the reference's best option, or within the tolerance of it."""


def compare(side: str, reference: type_scores, scores: type_scores, tolerance: float) -> Agreement:
    """How far `scores` are from `reference`.

    Raises ContractError where other pairs were scored, or a pair twice, or probabilities differ by more than
    `tolerance`. Answers parsed from text are only counted: a text may name any number.
    """
    expected = {(row["user_id"], row["title_id"]): row["probabilities"] for row in reference}
    found = {(row["user_id"], row["title_id"]): row for row in scores}
    if found.keys() != expected.keys():
        raise ContractError(f"{side}: {len(found)} pairs were scored, but not the {len(expected)} of the reference")
    if len(scores) != len(found):
        raise ContractError(f"{side}: {len(scores)} scores of {len(found)} pairs, expected one of each")
    differences = [
        abs(ours - theirs)
        for pair, row in found.items()
        if row["probabilities"] is not None
        for ours, theirs in zip(expected[pair], row["probabilities"], strict=True)
    ]
    answers = {pair: row["answer"] for pair, row in found.items() if row["answer"] is not None}
    below = [max(expected[pair]) - expected[pair][answer - 1] for pair, answer in answers.items()]
    best = sum(each <= tolerance for each in below)
    largest = max(differences) if differences else None
    if (largest or 0) > tolerance:
        raise ContractError(
            f"{side}: probabilities differ by up to {largest} from the reference's, at most {tolerance} was expected: "
            "the sides do not do the same work"
        )
    return Agreement(len(found), largest, len(answers), best)
