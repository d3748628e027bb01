"""Scores the held-out questions of a run of post-training with one model, by the code that scores a night. The
questions are in `held_out_contexts` and `held_out_choices`, the scores go to `held_out_scores` under the model's
version. With `--orders` every question is asked in so many rotations, whatever the settings say of close pairs, and
what they say together goes there as `VERSION+orders4`, which `marquee evaluate --model` takes for a model's version.
"""

from __future__ import annotations

from datetime import date

from inference.checkpoint import Checkpoint
from inference.engine import Engine, StartEngine
from inference.job import held_out_job
from inference.orders import averaged
from inference.score import score_shard
from schemas.settings import Settings


def score_held_out(
    ds: date, model: Checkpoint, config: Settings, orders: int | None = None, start: StartEngine = Engine
) -> None:
    """Score them all; what is done is skipped. With `orders` each question is asked in so many rotations, or all that
    it has.
    """
    name = model.version
    config = config.model_copy(update={"quantization": model.quantization})
    if orders is not None:
        name = averaged(name, orders)
        config = config.in_rotations(orders)
    score_shard(held_out_job(config.warehouse, ds, name), config, model=model, start=start)
