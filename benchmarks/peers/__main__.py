"""python -m benchmarks.peers SIDE JOB.json RESULT.json

Runs one side once, in this process: make ready, score the warm-up night, then score the measured night by the clock.
benchmarks/sides.py starts it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from benchmarks.peers import (
    ceiling,
    choices_first,
    classify,
    marquee,
    ray_data,
    text_script,
    text_sorted,
    transformers_batched,
)
from benchmarks.peers.job import Job, Scored
from benchmarks.prompt_bucket import MEASURED, WARM_UP

SIDES: dict[str, Callable[[Job], Callable[[date], Scored]]] = {
    "marquee": marquee.start,
    "ceiling": ceiling.start,
    "text_sorted": text_sorted.start,
    "text_script_large_cache": text_script.start_large,
    "text_script_small_cache": text_script.start_small,
    "ray_data": ray_data.start,
    "ray_data_resuming": ray_data.start_resuming,
    "transformers_batched": transformers_batched.start,
    "choices_first": choices_first.start,
    "classify": classify.start,
}


def main() -> None:
    side, job, result = sys.argv[1:]
    began = time.perf_counter()
    run = SIDES[side](Job.read(Path(job)))
    started = time.perf_counter()
    run(WARM_UP)
    ready = time.perf_counter()
    scored = run(MEASURED)
    seconds = time.perf_counter() - ready
    found = {
        "start_seconds": ready - began,
        "warm_up_seconds": ready - started,
        "seconds": seconds,
        "prompt_tokens": scored.prompt_tokens,
        "computed_tokens": scored.computed_tokens,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "scores": scored.scores(),
    }
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
