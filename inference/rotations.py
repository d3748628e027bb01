"""A pair scored in several rotations of its options: which ones, when it is worth it, and the mean of the answers.

The mean is the normalised geometric mean per artwork: p(a) ∝ exp(mean over rotations of log p(a)). A preference for
numbers multiplies the model's probability of the content (Zheng et al., arXiv 2309.03882), so over all rotations it
cancels completely in the mean of logarithms, but not in the mean of probabilities. Either mean has, on average, at
least the likelihood of the answers it averages (Razafindralambo et al., arXiv 2603.04204).
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Sequence


def spread(rotation: int, rotations: int, further: int) -> list[int]:
    """`rotation`, and up to `further` others of 0 … rotations - 1, evenly spaced around the circle."""
    count = min(1 + further, rotations)
    return [(rotation + turn * rotations // count) % rotations for turn in range(count)]


def is_close(probabilities: Sequence[float], margin: float) -> bool:
    """Whether the two largest differ by at most `margin`: with 0 only if they are equal, with 1 always."""
    best = heapq.nlargest(2, probabilities)
    return len(best) == 2 and best[0] - best[1] <= margin


def mean_logprobs(answers: Sequence[tuple[Sequence[str], Sequence[float]]]) -> list[float]:
    """The mean log-probability of each artwork over `answers`, one per rotation, each (artwork_ids, their
    log-probabilities). The result is aligned with the first answer's artworks.
    """
    if len(answers) == 1:
        return list(answers[0][1])
    by_artwork = [dict(zip(artwork_ids, logprobs, strict=True)) for artwork_ids, logprobs in answers]
    return [math.fsum(each[artwork] for each in by_artwork) / len(by_artwork) for artwork in answers[0][0]]


def averaged(model_version: str, rotations: int) -> str:
    """Name for scores averaged over so many rotations of every pair."""
    return f"{model_version}+orders{rotations}"


def of_averaged(name: str) -> tuple[str, int] | None:
    """The model version and number of rotations in a name made by `averaged`; None for another name."""
    found = re.fullmatch(r"(.+)\+orders(\d+)", name)
    return (found[1], int(found[2])) if found else None


def in_words(name: str) -> str:
    """The name of a model's scores, with `averaged` ones in words."""
    found = of_averaged(name)
    return f"{found[0]}, mean of {found[1]} rotations" if found else name
