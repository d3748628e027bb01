"""Marquee: what `python -m inference.score` does for a shard, with an engine that has started already.

Resuming, rejected rows and the order of its commits are all on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any
from unittest import mock

from benchmarks.peers.job import Job, Scored
from inference import score
from inference.engine import Engine
from inference.questions import Question, Rejected, questions
from inference.warehouse import Night
from schemas.settings import Settings
from schemas.tables import ARTWORK_SCORES

type_questions = Callable[..., Iterator[list[Question | Rejected]]]
"""What questions of inference/questions.py is: others ask the same pairs in another way."""


def start(job: Job) -> Callable[[date], Scored]:
    return scoring(job, Engine(job.checkpoint, job.settings, job.labels), job.settings)


def scoring(job: Job, engine: Engine, config: Settings, asked: type_questions = questions) -> Callable[[date], Scored]:
    """With this engine, or with other questions than Marquee's own."""

    def run(ds: date) -> Scored:
        with mock.patch.object(score, "Engine", return_value=engine), mock.patch.object(score, "questions", asked):
            counts = score.score_shard(ds, 0, 1, config, job.checkpoint.path, job.into)
        computed = counts["prompt_tokens"] - counts["cached_tokens"]
        return Scored(counts["prompt_tokens"], computed, lambda: scores(job, ds))

    return run


def scores(job: Job, ds: date) -> list[dict[str, Any]]:
    night = Night(job.warehouse, ds, job.into)
    rows = night.rows(ARTWORK_SCORES, ["user_id", "title_id", "probabilities"])
    return [{**row, "answer": None} for row in rows]
