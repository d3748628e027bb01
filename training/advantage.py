"""Advantage-weighted likelihood: the artwork of every first impression of a draw gets likelier, the more so the better
the impression did than expected (formula: training/outcomes.py).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from schemas.events import report
from schemas.tables import POST_TRAINING_EXAMPLES
from training.levels import training_rows
from training.settings import Advantage
from training.stage import Stage

TABLES = (POST_TRAINING_EXAMPLES,)
"""The tables that the recipe reads."""


def train(stage: Stage, recipe: Advantage) -> Any:
    from training.outcomes import advantage_loss, make_trainer

    rows = training_rows(stage, recipe.propensity_clip)
    report("advantage", f"{len(rows.rows):,} impressions, {rows.too_long} too long, longest {rows.longest} tokens")
    return make_trainer(stage, rows, partial(advantage_loss, temperature=recipe.temperature))
