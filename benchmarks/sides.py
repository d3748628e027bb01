"""Runs the sides of a comparison, each in a process of its own, and checks that they did the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """One side, once. `start_seconds` hold `warm_up_seconds`."""

    seconds: float
    start_seconds: float
    warm_up_seconds: float
    prompt_tokens: int
    computed_tokens: int | None
    peak_rss_mb: int


type_ran = tuple[Run, list[dict[str, Any]]]
"""A side's run and its scores."""


def run_side(
    side: str, job: Job, folder: Path, settings: Mapping[str, str] | None = None, processors: str | None = None
) -> type_ran:
    """Run a side in a process of its own, with further `settings` in its environment and on `processors` alone (as
    `taskset -c` has them) where they are given.

    Raises RuntimeError, with the end of what it said, where it fails.
    """
    into = Path(tempfile.mkdtemp(prefix=f"{side}-", dir=folder))
    replace(job, into=str(into / "scores")).write(into / "job.json")
    (into / "scores").mkdir()
    pinned = [] if processors is None else ["taskset", "-c", processors]
    files = [str(into / name) for name in ("job.json", "result.json")]
    command = [*pinned, sys.executable, "-m", "benchmarks.peers", side, *files]
    run_to_its_end(command, {**environment(job), **(settings or {})}, into / "log")
    result = json.loads((into / "result.json").read_text())
    scores = result.pop("scores")
    return Run(**result), scores


def run_to_its_end(command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Run a process. Raises RuntimeError, with the end of what it said to `log`, where it fails."""
    with log.open("w") as said:
        done = subprocess.run(command, env=environment, stdout=said, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"ended with status {done.returncode}; the end of {log}:\n{log.read_text()[-1500:]}")


@dataclass
class Measured:
    """The runs of each side that did not fail, whether it agrees with ours, and why a side that failed has no runs."""

    runs: dict[str, list[Run]]
    agreements: dict[str, Agreement]
    failed: dict[str, str]


def measure(sides: Mapping[str, Callable[[], type_ran]], repeats: int, tolerances: Mapping[str, float]) -> Measured:
    """Run the sides, ours first. Raises ContractError at once where a side's scores are not the first of ours, within
    its tolerance.
    """
    measured = Measured({}, {}, {})
    reference: list[dict[str, Any]] = []
    for order in alternating(list(sides), repeats):
        for side in order:
            if side in measured.failed:
                continue
            try:
                run, scores = sides[side]()
            except RuntimeError as error:
                measured.failed[side] = str(error)
                measured.runs.pop(side, None)
                measured.agreements.pop(side, None)
                continue
            reference = reference or scores
            measured.agreements[side] = compare(side, reference, scores, tolerances[side])
            measured.runs.setdefault(side, []).append(run)
            print(f"  {side}: {run.seconds:.2f} s, after {run.start_seconds:.0f} s to start", flush=True)
        if OURS in measured.failed:
            raise ContractError(f"{OURS} did not run, so there is nothing to compare with: {measured.failed[OURS]}")
    return measured
