"""python -m benchmarks.work_lost [--users 1000] [--buckets 16] [--scratch FOLDER]

What a scoring process that is killed half-way costs, and what a prompt that is too long does: Marquee against all text
prompts in one sorted `LLM.generate` (the strongest simple rival). Each side scores the night once undisturbed, then
once more with a kill (SIGKILL, when its engine has answered half of the pairs) and a second run; the tokens computed by
both, over those of the undisturbed one. Then a night in which one pair in a thousand is longer than the model reads:
which pairs are scored, which are told as rejected, and which are lost.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.agreement import compare
from benchmarks.peers.job import Job
from benchmarks.peers.watched import Counts, new_progress, read_progress
from benchmarks.prompt_bucket import MEASURED, TITLES_PER_USER, TOO_LONG, make_nights
from benchmarks.report import markdown, told_run
from benchmarks.sides import OURS, environment
from inference.warehouse import Night
from schemas.settings import settings
from schemas.tables import ARTWORK_SCORES, REJECTED_ROWS

SIDES = (OURS, "text_sorted")
GOAL = 1.1
_TOO_LONG_EVERY = 1000 // TITLES_PER_USER
_TOLERANCE = 1e-3
_LOOKED_SECONDS = 0.002


@dataclass(frozen=True)
class Watched:
    """One process of a side: what its engine answered, how it ended, and its scores if it came to the end."""

    counts: Counts
    status: int
    scores: list[dict[str, Any]]
    said: str


def run_watched(side: str, job: Job, folder: Path, kill_at: int | None = None) -> Watched:
    """Run a side; kill it as soon as its engine has answered `kill_at` pairs. `folder` is new, job.into may not be."""
    folder.mkdir()
    job.write(folder / "job.json")
    new_progress(folder / "progress")
    files = [folder / name for name in ("job.json", "progress", "scores.json")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.watched", side, *map(str, files)],
            env=environment(job),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if kill_at is not None and read_progress(files[1]).pairs >= kill_at:
                    break
                time.sleep(_LOOKED_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    scores = json.loads(files[2].read_text()) if files[2].exists() else []
    return Watched(read_progress(files[1]), status, scores, (folder / "log").read_text())


@dataclass(frozen=True)
class Killed:
    """A side that was killed half-way: tokens computed by one pass, by the killed run (at most), and by the next.

    `answered`: pairs that the killed run's engine had answered; `kept`: pairs whose scores were on disk afterwards.
    """

    one_pass: int
    before: int
    after: int
    answered: int
    kept: int

    @property
    def passes(self) -> float:
        return (self.before + self.after) / self.one_pass


def killed(side: str, warehouse: Path, pairs: int, folder: Path) -> Killed:
    """Raises ContractError where the scores after the kill are not those of the undisturbed run."""

    def job(name: str) -> Job:
        into = folder / f"{side}-{name}"
        into.mkdir(exist_ok=True)
        return Job(str(warehouse), settings().model, str(into), 0)

    print(f"{side}: one pass", flush=True)
    whole = _ended(run_watched(side, job("whole"), folder / f"{side}-pass"), side)
    print(f"{side}: killed after {pairs // 2:,} pairs", flush=True)
    first = run_watched(side, job("killed"), folder / f"{side}-first", kill_at=pairs // 2)
    if first.status != -signal.SIGKILL:
        raise RuntimeError(f"{side} ended before it was killed: take more --users")
    kept = kept_pairs(side, job("killed"))
    print(f"{side}: run again", flush=True)
    second = _ended(run_watched(side, job("killed"), folder / f"{side}-second"), side)
    compare(side, whole.scores, second.scores, _TOLERANCE)
    # The step that ran when the kill came is not told: it may have computed as many tokens as a step may have.
    unknown = settings().max_num_batched_tokens
    counts = (whole.counts, first.counts, second.counts)
    one_pass, before, after = (each.computed_tokens for each in counts)
    return Killed(one_pass, before + unknown, after, first.counts.pairs, kept)


def kept_pairs(side: str, job: Job) -> int:
    """Pairs whose scores are on disk."""
    if side == OURS:
        return sum(1 for _ in Night(job.warehouse, MEASURED, job.into).rows(ARTWORK_SCORES, ["user_id"]))
    return sum(pq.read_metadata(file).num_rows for file in Path(job.into).glob("*.parquet"))


def _ended(run: Watched, side: str) -> Watched:
    if run.status:
        raise RuntimeError(f"{side} ended with status {run.status}: {run.said[-1500:]}")
    return run


@dataclass(frozen=True)
class Survived:
    """A side on a night with too long prompts: pairs scored, pairs told as rejected, and how the process ended."""

    scored: int
    rejected: int
    ended: str

    def lost(self, pairs: int) -> int:
        """Pairs of which nothing is told."""
        return pairs - self.scored - self.rejected


def survived(side: str, warehouse: Path, folder: Path) -> Survived:
    into = folder / f"{side}-too-long"
    into.mkdir()
    print(f"{side}: one prompt in a thousand too long", flush=True)
    run = run_watched(side, Job(str(warehouse), settings().model, str(into), 0), folder / f"{side}-long")
    told = 0
    if side == OURS:
        rejected = list(Night(str(warehouse), MEASURED, str(into)).rows(REJECTED_ROWS, ["rule"]))
        told = sum(row["rule"] == "prompt_too_long" for row in rejected)
    lines = [line for line in run.said.splitlines() if line.strip()]
    ended = "well" if run.status == 0 else f"status {run.status}: {lines[-1][:80] if lines else ''}"
    return Survived(len(run.scores), told, ended)


def told_killed(found: dict[str, Killed]) -> str:
    rows = [
        [
            side,
            f"{each.one_pass:,}",
            f"{each.answered:,}",
            f"{each.kept:,}",
            f"{each.before:,}",
            f"{each.after:,}",
            f"{each.passes:.3f}",
        ]
        for side, each in found.items()
    ]
    columns = (
        "side",
        "tokens of one pass",
        "killed after pairs",
        "pairs kept",
        "computed",
        "run again",
        "all / one pass",
    )
    return markdown(columns, rows)


def told_survived(found: dict[str, Survived], pairs: int, too_long: int) -> str:
    rows = [
        [
            side,
            each.ended,
            f"{pairs:,}",
            f"{too_long:,}",
            f"{each.scored:,}",
            f"{each.rejected:,}",
            f"{each.lost(pairs):,}",
        ]
        for side, each in found.items()
    ]
    columns = ("side", "ended", "pairs", "too long", "scored", "told as rejected", "lost")
    return markdown(columns, rows, texts=2)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.work_lost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--users", type=int, default=1000, help=f"of {TITLES_PER_USER} pairs each; default: %(default)s"
    )
    parser.add_argument("--buckets", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="default: both")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    users, pairs = arguments.users, arguments.users * TITLES_PER_USER
    print(told_run(), flush=True)
    with tempfile.TemporaryDirectory(prefix="marquee-work-lost-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        make_nights(folder / "night", users, buckets=arguments.buckets)
        make_nights(folder / "too-long", users, buckets=arguments.buckets, too_long_every=_TOO_LONG_EVERY)
        killed_sides = {side: killed(side, folder / "night", pairs, folder) for side in arguments.sides}
        too_long = users // _TOO_LONG_EVERY
        survivors = {side: survived(side, folder / "too-long", folder) for side in arguments.sides}
    print(f"\n{users:,} users of {TITLES_PER_USER} pairs, {arguments.buckets} buckets; the scores of both runs agree\n")
    print(told_killed(killed_sides))
    print(f"\nGoal: {GOAL} passes. Computed till the kill: with the most that the step in progress may have had.\n")
    print(told_survived(survivors, pairs, too_long))
    print(f"\nToo long is the title `{TOO_LONG}`, wanted by every {_TOO_LONG_EVERY}th user.")


if __name__ == "__main__":
    main()
