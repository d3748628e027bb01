"""Supervised fine-tuning on the answer: only the option number of the artwork that was played has a loss. With
--not-played, impressions that were not played lower the likelihood of the artwork that was shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from schemas.events import report
from schemas.tables import POST_TRAINING_EXAMPLES
from training.data import ANSWER_SCHEMA, Source, Tokenized, answer_row, arranged, counts_of_play, tokenized
from training.settings import Common, Sft
from training.stage import Stage

TABLES = (POST_TRAINING_EXAMPLES,)
"""The tables that the recipe reads."""
_COLUMNS = ["context", "choice", "shown", "played", "propensity"]


def weighted_examples(source: Source, recipe: Sft) -> Iterator[dict[str, Any]]:
    """The examples to learn from, each with its weight: min(1 / propensity, clip), divided by its mean."""
    learned_from = (row for row in source.training(_COLUMNS) if row["played"] or recipe.not_played)
    wanted = list(islice(learned_from, recipe.limit or None))
    weights = [counts_of_play(row["propensity"], recipe.propensity_clip) for row in wanted]
    mean = sum(weights) / max(1, len(weights))
    for row, weight in zip(wanted, weights, strict=True):
        yield {**row, "weight": weight / mean}


def training_rows(stage: Stage, recipe: Sft) -> Tokenized:
    tokens = stage.tokens
    return tokenized(weighted_examples(stage.source, recipe), tokens, stage.limit, ANSWER_SCHEMA, answer_row(tokens))


def make_trainer(stage: Stage, recipe: Common, rows: Tokenized, not_played: float) -> Any:
    from trl import SFTConfig

    from training.answers import AnswerTrainer, Collator
    from training.stage import adapters, load_base, printer, trainer_arguments

    model, tokenizer = load_base(stage.base)
    return AnswerTrainer(
        not_played=not_played,
        model=model,
        args=SFTConfig(**trainer_arguments(stage)),
        train_dataset=arranged(rows.rows, "input_ids", recipe.batch, recipe.seed),
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id),
        peft_config=adapters(recipe),
        callbacks=[printer(stage)],
    )


def train(stage: Stage, recipe: Sft) -> Any:
    rows = training_rows(stage, recipe)
    report("sft", f"{len(rows.rows):,} examples, {rows.too_long} too long, longest {rows.longest} tokens")
    return make_trainer(stage, recipe, rows, recipe.not_played)
