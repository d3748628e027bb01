"""Runs the sides of a comparison, each in a process of its own, and checks that they did the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agreement import Agreement, compare
from benchmarks.peers.job import Job
from benchmarks.repeats import alternating
from schemas.contract import ContractError

OURS = "marquee"

# The same for every side: no second process for the engine, both cores, nothing from the network.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def environment(job: Job) -> dict[str, str]:
    """The environment of a side's process; what the user has set stays."""
    return {**_ENVIRONMENT, "VLLM_CPU_KVCACHE_SPACE": str(job.settings.cpu_cache_gib), **os.environ}


@dataclass(frozen=True)
class Run:
    """One side, once."""

    seconds: float
    start_seconds: float
    prompt_tokens: int
    computed_tokens: int | None
    peak_rss_mb: int


def run_side(side: str, job: Job, folder: Path) -> tuple[Run, list[dict[str, Any]]]:
    """Run a side in a process of its own; its scores come along.

    Raises RuntimeError, with the end of what it said, where it fails.
    """
    into = Path(tempfile.mkdtemp(prefix=f"{side}-", dir=folder))
    Job(job.warehouse, job.model, str(into / "scores"), job.context_tokens).write(into / "job.json")
    (into / "scores").mkdir()
    with (into / "log").open("w+") as log:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.peers", side, into / "job.json", into / "result.json"],
            env=environment(job),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
        log.seek(0)
        said = log.read()
    if done.returncode:
        raise RuntimeError(f"ended with status {done.returncode}; the end of {into / 'log'}:\n{said[-1500:]}")
    result = json.loads((into / "result.json").read_text())
    scores = result.pop("scores")
    return Run(**result), scores


@dataclass
class Measured:
    """The runs of each side that did not fail, whether it agrees with ours, and why a side that failed has no runs."""

    runs: dict[str, list[Run]]
    agreements: dict[str, Agreement]
    failed: dict[str, str]


def measure(sides: list[str], job: Job, folder: Path, repeats: int, tolerance: float) -> Measured:
    """Run the sides, ours first. Raises ContractError at once where a side's scores are not the first of ours."""
    measured = Measured({}, {}, {})
    reference: list[dict[str, Any]] = []
    for order in alternating(sides, repeats):
        for side in order:
            if side in measured.failed:
                continue
            try:
                run, scores = run_side(side, job, folder)
            except RuntimeError as error:
                measured.failed[side] = str(error)
                measured.runs.pop(side, None)
                measured.agreements.pop(side, None)
                continue
            reference = reference or scores
            measured.agreements[side] = compare(side, reference, scores, tolerance)
            measured.runs.setdefault(side, []).append(run)
            print(f"  {side}: {run.seconds:.2f} s, after {run.start_seconds:.0f} s to start", flush=True)
        if OURS in measured.failed:
            raise ContractError(f"{OURS} did not run, so there is nothing to compare with: {measured.failed[OURS]}")
    return measured
