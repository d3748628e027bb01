"""python -m benchmarks.peers.watched SIDE JOB.json PROGRESS SCORES.json

Runs one side on the measured night and tells in the file PROGRESS how far its engine is. benchmarks/work_lost.py starts
it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.peers.__main__ import SIDES
from benchmarks.peers.job import Job
from benchmarks.peers.progress import tell_progress
from benchmarks.prompt_bucket import MEASURED


def main() -> None:
    side, job, progress, scores = sys.argv[1:]
    tell_progress(Path(progress))
    scored = SIDES[side](Job.read(Path(job)))(MEASURED)
    Path(scores).write_text(json.dumps(scored.scores()))


if __name__ == "__main__":
    main()
