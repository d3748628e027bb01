"""Scores the held-out questions of a run of post-training with one model, by the code that scores a night. The
questions are in `<warehouse>/post_training/questions`, the scores go to `<warehouse>/post_training/scores/<model
version>`. With `--orders` every question is asked in so many rotations, whatever the settings say of close pairs, and
what they say together goes to `…/<model version>+orders4`, which `marquee evaluate --model` takes for a model's
version.
"""

from __future__ import annotations

from datetime import date

from inference.checkpoint import Checkpoint
from inference.engine import Engine, StartEngine
from inference.orders import averaged
from inference.score import score_shard
from schemas.settings import Settings


def score_held_out(
    ds: date, model: Checkpoint, config: Settings, orders: int | None = None, start: StartEngine = Engine
) -> None:
    """Score them all in one shard; what is done is skipped. With `orders` each question is asked in so many rotations,
    or all that it has.
    """
    name = model.version
    config = config.model_copy(update={"quantization": model.quantization})
    if orders is not None:
        name = averaged(name, orders)
        config = config.in_orders(orders)
    score_shard(ds, 0, 1, config.of_questions(), model=model.path, into=config.of_scores(name).warehouse, start=start)
