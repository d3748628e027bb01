"""Outcomes to learn from: every first impression of a draw, played or not, with the level of plays expected there.

Most of what makes a play likely is the title and the user, whatever artwork is shown. A model that learns outcomes as
they are learns that level at the expense of the order within a title, which is all that a choice needs. So the level
is estimated beforehand and taken off.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any
from zlib import crc32

import pyarrow as pa

from inference.tokens import Tokens
from training.data import Source, Tokenized, relative_weights, tokenized
from training.stage import Stage

OUTCOME_SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("option_ids", pa.list_(pa.int32())),
        ("option_ends", pa.list_(pa.int32())),
        ("user_id", pa.string()),
        ("shown", pa.int32()),
        ("played", pa.float32()),
        ("level", pa.float32()),
        ("weight", pa.float32()),
    ]
)
_COLUMNS = ["user_id", "title_id", "context", "choice", "artwork_ids", "shown", "played", "propensity"]
_FOLDS = 2
# Impressions as which the overall rate counts: 1 / (spread² rate (1 - rate)) for a rate near a half and deviations in
# log-odds of 1 for titles, and of a third for users.
_TITLE_PRIOR, _USER_PRIOR = 4.0, 36.0


def levels(impressions: Sequence[dict[str, Any]]) -> list[float]:
    """The expected log-odds of a play for each impression (user_id, title_id, played), whatever artwork is shown.

    level = logit(title's rate) + logit(user's rate) - logit(overall rate), with the first two drawn to the third. They
    are cross-fitted: a title's rate is that of the other half of the users, and a user's that of the user's other
    impressions, so that no outcome is part of its own level.
    """
    shown: Counter[tuple[str, Any]] = Counter()
    plays: Counter[tuple[str, Any]] = Counter()
    for row in impressions:
        for key in _keys(row, own_fold=True):
            shown[key] += 1
            plays[key] += bool(row["played"])
    overall = (sum(map(_played, impressions)) + 1) / (len(impressions) + 2)
    found = []
    for row in impressions:
        title, user = _keys(row, own_fold=False)
        of_title = _rate(plays[title], shown[title], overall, _TITLE_PRIOR)
        of_user = _rate(plays[user] - _played(row), shown[user] - 1, overall, _USER_PRIOR)
        found.append(_logit(of_title) + _logit(of_user) - _logit(overall))
    return found


def outcomes(source: Source, propensity_clip: float, limit: int) -> Iterator[dict[str, Any]]:
    """The training examples, at most `limit` of them (0: all), with level and weight: min(1 / propensity, clip),
    divided by its mean.
    """
    rows = list(islice(source.training(_COLUMNS), limit or None))
    for row, level, weight in zip(rows, levels(rows), relative_weights(rows, propensity_clip), strict=True):
        yield {**row, "level": level, "weight": weight}


def training_rows(stage: Stage, propensity_clip: float) -> Tokenized:
    """The rows of a recipe that learns from outcomes."""
    found = outcomes(stage.source, propensity_clip, stage.recipe.limit)
    return tokenized(found, stage.tokens, stage.limit, OUTCOME_SCHEMA, _outcome_row(stage.tokens))


def _outcome_row(tokens: Tokens) -> Callable[[dict[str, Any], list[int]], dict[str, Any]]:
    def row(example: dict[str, Any], prompt: list[int]) -> dict[str, Any]:
        return {
            "input_ids": prompt,
            "option_ids": tokens.labels[: len(example["artwork_ids"])],
            "option_ends": [len(prompt) + end for end in tokens.option_ends(example["choice"])],
            "user_id": example["user_id"],
            "shown": example["shown"] - 1,
            "played": float(example["played"]),
            "level": example["level"],
            "weight": example["weight"],
        }

    return row


def _keys(row: dict[str, Any], own_fold: bool) -> tuple[tuple[str, Any], tuple[str, Any]]:
    """What a row's outcome counts towards, or, with `own_fold` false, whose counts make the row's level."""
    fold = crc32(row["user_id"].encode()) % _FOLDS
    return ("title", (row["title_id"], fold if own_fold else 1 - fold)), ("user", row["user_id"])


def _played(row: dict[str, Any]) -> int:
    return int(row["played"])


def _rate(plays: int, shown: int, prior: float, weight: float) -> float:
    return (plays + weight * prior) / (shown + weight)


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))
