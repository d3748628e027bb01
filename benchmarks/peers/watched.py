"""python -m benchmarks.peers.watched SIDE JOB.json PROGRESS SCORES.json

Runs one side on the measured night and tells in the file PROGRESS how far its engine is, so that whoever watches it
knows what was computed by a process that was killed. benchmarks/work_lost.py starts it.
"""

from __future__ import annotations

import json
import mmap
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.__main__ import SIDES
from benchmarks.peers.job import Job
from benchmarks.prompt_bucket import MEASURED

_COUNTS = struct.Struct("3q")


@dataclass(frozen=True)
class Counts:
    """What an engine has answered."""

    pairs: int = 0
    prompt_tokens: int = 0
    computed_tokens: int = 0


def new_progress(file: Path) -> None:
    file.write_bytes(_COUNTS.pack(0, 0, 0))


def read_progress(file: Path) -> Counts:
    return Counts(*_COUNTS.unpack(file.read_bytes()))


def watch(file: Path) -> None:
    """From now on, count what any engine of this process answers, step by step."""
    from vllm.v1.engine.llm_engine import LLMEngine

    with file.open("r+b") as opened:
        # Shared memory outlives a process that is killed.
        shared = mmap.mmap(opened.fileno(), _COUNTS.size)
    step, counts = LLMEngine.step, [0, 0, 0]

    def counted(engine: LLMEngine) -> list[Any]:
        outputs: list[Any] = step(engine)
        for output in outputs:
            if output.finished:
                prompt = len(output.prompt_token_ids)
                for place, more in enumerate((1, prompt, prompt - (output.num_cached_tokens or 0))):
                    counts[place] += more
        shared[:] = _COUNTS.pack(*counts)
        return outputs

    LLMEngine.step = counted  # type: ignore[method-assign,assignment]


def main() -> None:
    side, job, progress, scores = sys.argv[1:]
    watch(Path(progress))
    scored = SIDES[side](Job.read(Path(job)))(MEASURED)
    Path(scores).write_text(json.dumps(scored.scores()))


if __name__ == "__main__":
    main()
