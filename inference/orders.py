"""A pair asked in several orders of its options: which ones, when it is worth it, and what comes of the answers.

The answers are put together by the normalised geometric mean, artwork by artwork: p(a) ∝ exp(mean over orders of
log p(a)). A liking for numbers multiplies what a model thinks of the content (Zheng et al., arXiv 2309.03882), so that
over all rotations it falls out of the mean of logarithms whole; some of it would stay in the mean of probabilities.
Either mean is at least as likely, on average, as the answers that it is of (Razafindralambo et al., arXiv 2603.04204).
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Sequence


def spread(ordering: int, orderings: int, further: int) -> list[int]:
    """`ordering`, and up to `further` others of 0 … orderings - 1, evenly around the circle from it."""
    asked = min(1 + further, orderings)
    return [(ordering + turn * orderings // asked) % orderings for turn in range(asked)]


def is_close(probabilities: Sequence[float], margin: float) -> bool:
    """Whether the two largest are at most `margin` apart: with 0 only where they are equal, with 1 always."""
    best = heapq.nlargest(2, probabilities)
    return len(best) == 2 and best[0] - best[1] <= margin


def mean_logprobs(orders: Sequence[tuple[Sequence[str], Sequence[float]]]) -> list[float]:
    """The mean log-probability of each artwork over `orders`, each (artwork_ids, their log-probabilities); in the order
    of the first.
    """
    if len(orders) == 1:
        return list(orders[0][1])
    by_artwork = [dict(zip(artwork_ids, logprobs, strict=True)) for artwork_ids, logprobs in orders]
    return [math.fsum(each[artwork] for each in by_artwork) / len(by_artwork) for artwork in orders[0][0]]


def averaged(model_version: str, orders: int) -> str:
    """Name for scores averaged over `orders` rotations for every pair."""
    return f"{model_version}+orders{orders}"


def of_averaged(name: str) -> tuple[str, int] | None:
    """What `averaged` made `name` of; None for another name."""
    found = re.fullmatch(r"(.+)\+orders(\d+)", name)
    return (found[1], int(found[2])) if found else None


def in_words(name: str) -> str:
    """The name of a model's scores in words, where they are `averaged` ones."""
    found = of_averaged(name)
    return f"{found[0]}, mean of {found[1]} orders" if found else name
