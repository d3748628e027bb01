"""Supervised fine-tuning on the answer: only the option number of the artwork that was played has a loss. With
--not-played, impressions that were not played lower the likelihood of the artwork that was shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from schemas.events import report
from schemas.tables import POST_TRAINING_EXAMPLES
from training.data import ANSWER_SCHEMA, Source, Tokenized, answer_row, relative_weights, tokenized
from training.settings import Sft
from training.stage import Stage

TABLES = (POST_TRAINING_EXAMPLES,)
"""The tables that the recipe reads."""
_COLUMNS = ["context", "choice", "shown", "played", "propensity"]


def weighted_examples(source: Source, recipe: Sft) -> Iterator[dict[str, Any]]:
    """The examples to learn from, each with its weight: min(1 / propensity, clip), divided by its mean."""
    learned_from = (row for row in source.training(_COLUMNS) if row["played"] or recipe.not_played)
    wanted = list(islice(learned_from, recipe.limit or None))
    for row, weight in zip(wanted, relative_weights(wanted, recipe.propensity_clip), strict=True):
        yield {**row, "weight": weight}


def training_rows(stage: Stage, recipe: Sft) -> Tokenized:
    tokens = stage.tokens
    return tokenized(weighted_examples(stage.source, recipe), tokens, stage.limit, ANSWER_SCHEMA, answer_row(tokens))


def make_trainer(stage: Stage, rows: Tokenized, not_played: float) -> Any:
    from training.answers import AnswerTrainer, Collator
    from training.row_trainer import options_of

    return AnswerTrainer(not_played=not_played, **options_of(stage, rows, Collator))


def train(stage: Stage, recipe: Sft) -> Any:
    rows = training_rows(stage, recipe)
    report("sft", f"{len(rows.rows):,} examples, {rows.too_long} too long, longest {rows.longest} tokens")
    return make_trainer(stage, rows, recipe.not_played)
