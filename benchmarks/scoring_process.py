"""Runs the scoring command itself, `python -m inference.score`, on a night that was made, and reads what it counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.prompt_bucket import MEASURED
from inference.warehouse import Night
from schemas.tables import NIGHT_STEPS, SCORING_RUNS


@dataclass(frozen=True)
class Scoring:
    """A night's shards, scored at the same time, one process each.

    `seconds`: from the first start to the last end; `scoring_seconds`: of these, those of the slowest shard between its
    first prompt and its last score. What is left is starting the engine, and the ends of the processes.
    """

    seconds: float
    scoring_seconds: float
    peak_rss_mb: int
    """Of the largest process."""
    pairs: int


def score_night(warehouse: Path, model: Path, into: Path, processors: Sequence[str], folder: Path) -> Scoring:
    """Score the measured night into a new warehouse `into`: one shard for each of `processors` (as `taskset -c` has
    them), each process on its own ones. Raises RuntimeError where a process fails.
    """
    shards = len(processors)
    logs = [folder / f"{into.name}-{shard}.log" for shard in range(shards)]
    Night(str(warehouse), MEASURED, str(into)).create_missing()
    settings = {"MARQUEE_WAREHOUSE": str(warehouse)}
    began = time.perf_counter()
    places = ["--model", str(model), "--into", str(into), "--shards", str(shards)]
    running = [
        _start([*places, "--shard", str(shard)], processors[shard], logs[shard], settings) for shard in range(shards)
    ]
    statuses = [process.wait() for process in running]
    seconds = time.perf_counter() - began
    for status, log in zip(statuses, logs, strict=True):
        if status:
            raise RuntimeError(
                f"scoring ended with status {status}; the end of what it said:\n{log.read_text()[-1500:]}"
            )
    night = Night(str(warehouse), MEASURED, str(into))
    counts = [dict(row["counts"]) for row in night.rows(NIGHT_STEPS, ["counts"])]
    of_shards = [0.0] * shards
    for row in night.rows(SCORING_RUNS, ["bucket", "seconds"]):
        of_shards[row["bucket"] % shards] += row["seconds"]
    return Scoring(
        seconds,
        max(of_shards),
        max(count["peak_rss_mb"] for count in counts),
        sum(count["pairs"] for count in counts),
    )


def _start(arguments: list[str], processors: str, log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "inference.score", "--ds", str(MEASURED), *arguments]
    with log.open("wb") as said:
        return subprocess.Popen(
            ["taskset", "-c", processors, *command],
            env={**os.environ, **settings},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
