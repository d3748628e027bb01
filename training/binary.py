"""Weighted binary classification: whether the shown artwork was played, from every first impression of a draw, played
or not. The model's log-probabilities, less what the options share, are the log-odds of a play over its expected level
(formula: training/outcomes.py). trl's own unpaired recipe, KTO, has neither level nor weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from schemas.events import report
from schemas.tables import POST_TRAINING_EXAMPLES
from training.levels import training_rows
from training.settings import Binary
from training.stage import Stage

TABLES = (POST_TRAINING_EXAMPLES,)
"""The tables that the recipe reads."""


def train(stage: Stage, recipe: Binary) -> Any:
    from training.outcomes import binary_loss, make_trainer

    rows = training_rows(stage, recipe.propensity_clip)
    report("binary", f"{len(rows.rows):,} impressions, {rows.too_long} too long, longest {rows.longest} tokens")
    return make_trainer(stage, rows, partial(binary_loss, scale=recipe.scale))
