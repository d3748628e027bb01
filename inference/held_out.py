"""Scores the held-out questions of a post-training run with one model, by the code that scores a night. The questions
are in `held_out_contexts` and `held_out_choices`; the scores go to `held_out_scores` under the model's version. With
`--orders 4` every question is scored in 4 rotations, whatever the settings say about close pairs, and the averaged
scores are stored as `VERSION+orders4`, which `marquee evaluate --model` accepts as a model's version.
"""

from __future__ import annotations

from datetime import date

from inference.checkpoint import Checkpoint
from inference.engine import Engine, StartEngine
from inference.job import held_out_job
from inference.rotations import averaged
from inference.score import score_shard
from schemas.settings import Settings


def score_held_out(
    ds: date, model: Checkpoint, config: Settings, rotations: int | None = None, start: StartEngine = Engine
) -> None:
    """Score all held-out questions of `ds`, skipping finished buckets. With `rotations`, each question is scored in so
    many rotations, or in all that it has.
    """
    name = model.version
    config = config.model_copy(update={"quantization": model.quantization})
    if rotations is not None:
        name = averaged(name, rotations)
        config = config.in_rotations(rotations)
    score_shard(held_out_job(config.warehouse, ds, name), config, model=model, start=start)
