"""Direct preference optimisation after SFT: the artwork that was played above those that were not. The reference model
is the base without the adapter, so the first loss is ln 2 times the mean weight of its batch.
"""

from __future__ import annotations

from typing import Any

from schemas.events import report
from schemas.tables import POST_TRAINING_EXAMPLES, PREFERENCE_PAIRS
from training.data import PAIR_SCHEMA, Tokenized, arranged, preference_row, preference_rows, tokenized
from training.settings import Dpo
from training.stage import Stage

TABLES = (POST_TRAINING_EXAMPLES, PREFERENCE_PAIRS)
"""The tables that the recipe reads."""


def training_rows(stage: Stage, recipe: Dpo) -> Tokenized:
    tokens = stage.tokens
    pairs = preference_rows(stage.source, recipe.negatives, recipe.propensity_clip, recipe.limit)
    return tokenized(pairs, tokens, stage.limit, PAIR_SCHEMA, preference_row(tokens))


def make_trainer(stage: Stage, recipe: Dpo, rows: Tokenized) -> Any:
    from trl import DPOConfig

    from training.preferences import Collator, PreferenceTrainer
    from training.stage import adapters, load_base, printer, trainer_arguments

    model, tokenizer = load_base(stage.base)
    return PreferenceTrainer(
        labels=stage.tokens.labels,
        model=model,
        args=DPOConfig(**trainer_arguments(stage), beta=recipe.beta),
        train_dataset=arranged(rows.rows, "prompt_ids", recipe.batch, recipe.seed),
        processing_class=tokenizer,
        data_collator=Collator(tokenizer.pad_token_id),
        peft_config=adapters(recipe),
        callbacks=[printer(stage)],
    )


def train(stage: Stage, recipe: Dpo) -> Any:
    rows = training_rows(stage, recipe)
    report("dpo", f"{len(rows.rows):,} prompts with pairs, {rows.too_long} too long, longest {rows.longest} tokens")
    return make_trainer(stage, recipe, rows)
