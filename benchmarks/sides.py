"""Runs the sides of a comparison, each in its own process, and checks that they did the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.job import Job
from schemas.contract import ContractError

MARQUEE = "marquee"
Scores = list[dict[str, Any]]
"""Rows of benchmarks/peers/job.py: SCORES."""
# The largest difference allowed between two sides' probabilities of one option.
TOLERANCE = 1e-3
# The same for every side: no second process for the engine, all processors, nothing from the network.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Run:
    """One run of a side."""

    seconds: float
    warm_up_seconds: float
    prompt_tokens: int
    computed_tokens: int | None
    scores: Scores


def run_side(side: str, job: Job, into: Path) -> Run:
    """Run a side in its own process. Its scores go to `into`, where it may have run before.

    Raises RuntimeError, with the end of its log, if it fails.
    """
    process = _started(side, job, into)
    try:
        process.wait()
    finally:
        _kill(process)
    if process.returncode:
        raise _failed(side, into)
    return Run(**json.loads((into / "result.json").read_text()))


def kill_side(side: str, job: Job, into: Path, after: float) -> None:
    """Run a side and kill all of its processes `after` seconds after the measured night began.

    Raises RuntimeError if it ends earlier.
    """
    process = _started(side, job, into)
    try:
        while process.poll() is None and not (into / "began").exists():
            time.sleep(0.01)
        time.sleep(after)
        if process.poll() is not None:
            raise _failed(side, into)
    finally:
        _kill(process)


def _started(side: str, job: Job, into: Path) -> subprocess.Popen[bytes]:
    (into / "scores").mkdir(parents=True, exist_ok=True)
    (into / "began").unlink(missing_ok=True)
    (into / "job.json").write_text(json.dumps(asdict(replace(job, into=str(into / "scores")))))
    command = [sys.executable, "-m", "benchmarks.peers", side, str(into)]
    environment = {**_ENVIRONMENT, "VLLM_CPU_KVCACHE_SPACE": str(job.settings.cpu_cache_gib), **os.environ}
    with (into / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _failed(side: str, into: Path) -> RuntimeError:
    return RuntimeError(f"{side} failed, or ended before it was killed; its log: {(into / 'log').read_text()[-1500:]}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs, and all its descendants."""
    if process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            for each in (*psutil.Process(process.pid).children(recursive=True), process):
                each.kill()
        process.wait()


def compare(side: str, reference: Scores, scores: Scores) -> float | None:
    """The largest difference between two probabilities; None for a side that only writes text.

    Raises ContractError if other pairs were scored, or one twice, or probabilities differ by more than TOLERANCE.
    """
    expected = {(row["user_id"], row["title_id"]): row["probabilities"] for row in reference}
    found = {(row["user_id"], row["title_id"]): row for row in scores}
    if found.keys() != expected.keys() or len(scores) != len(found):
        raise ContractError(f"{side}: {len(scores)} scores, expected one of each of the {len(expected)} pairs")
    differences = [
        abs(one - other)
        for pair, row in found.items()
        if row["probabilities"] is not None
        for one, other in zip(expected[pair], row["probabilities"], strict=True)
    ]
    largest = max(differences, default=None)
    if (largest or 0) > TOLERANCE:
        raise ContractError(f"{side}: probabilities differ by up to {largest}, expected at most {TOLERANCE}")
    return largest
