"""python -m benchmarks.peers SIDE FOLDER

Runs one side once, in this process: starts it, scores the warm-up night, then scores and times the measured night.
In FOLDER, job.json says what to score, `began` appears when the measured night begins, and result.json is written at
the end. benchmarks/sides.py starts this.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from benchmarks.peers import marquee, ray_data, text
from benchmarks.peers.job import Job, Scored
from benchmarks.prompt_bucket import MEASURED, WARM_UP

SIDES: dict[str, Callable[[Job], Callable[[date], Scored]]] = {
    "marquee": marquee.start,
    "text_sorted": text.start_sorted,
    "text_script": text.start_script,
    "ray_data": ray_data.start,
}


def main() -> None:
    side, folder = sys.argv[1], Path(sys.argv[2])
    run = SIDES[side](Job(**json.loads((folder / "job.json").read_text())))
    started = time.perf_counter()
    run(WARM_UP)
    ready = time.perf_counter()
    (folder / "began").touch()
    scored = run(MEASURED)
    found = {
        "seconds": time.perf_counter() - ready,
        "warm_up_seconds": ready - started,
        "prompt_tokens": scored.prompt_tokens,
        "computed_tokens": scored.computed_tokens,
        "scores": scored.scores(),
    }
    (folder / "result.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
