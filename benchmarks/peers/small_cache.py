"""python -m benchmarks.peers.small_cache JOB.json BLOCKS RESULT.json

Marquee with a prefix cache of BLOCKS blocks: scores the warm-up night, then the measured night once in each of ORDERS.
benchmarks/cache_size.py starts it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.peers.job import Job, Scored
from benchmarks.peers.marquee import scoring
from benchmarks.peers.title_by_title import title_by_title
from benchmarks.prompt_bucket import MEASURED, ROTATIONS, WARM_UP
from inference.engine import Engine

BY_USER = "user by user"
BY_TITLE = "title by title"
IN_ROTATIONS = "user by user, every pair in all rotations"


def engine_of(job: Job, blocks: int) -> Engine:
    """Marquee's engine; no setting of its own gives a cache of so few blocks."""
    import vllm

    with mock.patch.object(vllm, "LLM", partial(vllm.LLM, num_gpu_blocks_override=blocks)):
        return Engine(job.checkpoint, job.settings, job.labels)


def user_by_user(job: Job, engine: Engine) -> Callable[[date], Scored]:
    return scoring(job, engine, job.settings)


def by_title(job: Job, engine: Engine) -> Callable[[date], Scored]:
    return scoring(job, engine, job.settings, title_by_title)


def in_rotations(job: Job, engine: Engine) -> Callable[[date], Scored]:
    return scoring(job, engine, job.settings.in_orders(ROTATIONS))


ORDERS: dict[str, Callable[[Job, Engine], Callable[[date], Scored]]] = {
    BY_USER: user_by_user,
    BY_TITLE: by_title,
    IN_ROTATIONS: in_rotations,
}


def score_in_each(job: Job, engine: Engine) -> dict[str, dict[str, Any]]:
    user_by_user(job, engine)(WARM_UP)
    found = {}
    for place, (order, start) in enumerate(ORDERS.items()):
        run = start(replace(job, into=str(Path(job.into) / str(place))), engine)
        began = time.perf_counter()
        scored = run(MEASURED)
        found[order] = {
            "seconds": time.perf_counter() - began,
            "prompt_tokens": scored.prompt_tokens,
            "computed_tokens": scored.computed_tokens,
            "scores": scored.scores(),
        }
    return found


def main() -> None:
    job, blocks, result = sys.argv[1:]
    read = Job.read(Path(job))
    Path(result).write_text(json.dumps(score_in_each(read, engine_of(read, int(blocks)))))


if __name__ == "__main__":
    main()
