"""Policy distillation from a reward model: first a linear head on the base's hidden states learns what a play is worth
(training/reward_head.py), then the adapters learn the answer that follows from it:

    π(k) ∝ exp(reward(k) / s)

which is the policy with the most expected reward at that distance from the uniform one, s the weight of the divergence
(Rafailov et al., arXiv 2305.18290, equation 4). With K options it can be computed, so no answer has to be drawn.

A single play says little, and a model of many weights that learns from single plays learns their noise before it has
found what is worth knowing. The head has one weight per dimension and pools all impressions; its policy is then a
target for all options of a prompt, without noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import softmax

from schemas.events import report
from schemas.tables import POST_TRAINING_EXAMPLES
from training.levels import training_rows
from training.settings import Distilled
from training.stage import Stage, load_base

TABLES = (POST_TRAINING_EXAMPLES,)
"""The tables that the recipe reads."""


def train(stage: Stage, recipe: Distilled) -> Any:
    from training.outcomes import distillation_loss, make_trainer
    from training.reward_head import fitted

    found = training_rows(stage, recipe.propensity_clip)
    report("distilled", f"{len(found.rows):,} impressions, {found.too_long} too long, longest {found.longest} tokens")
    rows = found.rows.to_list()
    options = _options(stage, rows, recipe.depth)
    head = fitted(rows, options, recipe.scale)
    report(
        "distilled",
        f"reward model: log-loss {head.log_loss:.4f} on users left out, {head.log_loss_of_base:.4f} by the base alone; "
        f"penalty {head.penalty:,.0f}",
        log_loss=head.log_loss,
        log_loss_of_base=head.log_loss_of_base,
    )
    targets = [softmax(head.rewards(each) / recipe.scale).tolist() for each in options]
    # A prompt counts once, whatever was shown there and how likely that was.
    learned = found.rows.remove_columns("weight").add_column("weight", [1.0] * len(rows)).add_column("target", targets)
    return make_trainer(stage, replace(found, rows=learned), distillation_loss)


def _options(stage: Stage, rows: list[dict[str, Any]], depth: float) -> list[np.ndarray]:
    """What the base makes of the rows' options. Its weights are let go before the trainer loads its own."""
    import torch

    from training.reward_head import read_options

    model: Any = load_base(stage.base)[0].eval().to("cuda" if torch.cuda.is_available() else "cpu")
    layer = max(1, round(depth * model.config.num_hidden_layers))
    report("distilled", f"reading {len(rows):,} prompts; hidden states after layer {layer}")
    return read_options(model, rows, layer)
