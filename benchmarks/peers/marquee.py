"""Marquee: what `marquee score` does for a shard, with an engine that has already started.

Resuming, rejected rows and ordered commits are all on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from benchmarks.peers.job import Job, Scored
from inference.engine import Engine
from inference.job import ScoringJob
from inference.score import score_shard
from schemas.tables import ARTWORK_SCORES


def start(job: Job) -> Callable[[date], Scored]:
    engine = Engine(job.checkpoint, job.settings, job.labels)

    def run(ds: date) -> Scored:
        night = ScoringJob(job.warehouse, ds, job.into)
        counts = score_shard(night, job.settings, model=job.checkpoint, start=lambda *_: engine)
        rows = night.rows(ARTWORK_SCORES, ["user_id", "title_id", "probabilities"])
        computed = counts["prompt_tokens"] - counts["cached_tokens"]
        return Scored(counts["prompt_tokens"], computed, lambda: [{**row, "answer": None} for row in rows])

    return run
