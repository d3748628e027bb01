"""python -m benchmarks.work_lost [--users 1000] [--buckets 16] [--sides marquee text_sorted …] [--scratch FOLDER]

What a scoring process that is killed half-way costs, and what a prompt that is too long does: Marquee against all text
prompts in one sorted `LLM.generate` (the strongest simple rival) and against Ray Data, as it comes and with its
checkpoints. Each side scores the night once undisturbed, then once more with a kill (SIGKILL, when its engine has
answered half of the pairs), of the process that holds the engine and, where there are others, of all of them; a side
that does not come to its end by itself is run again. Told are the tokens computed by all that, over those of the
undisturbed run. Then a night in which one pair in a thousand is longer than the model reads: which pairs are scored,
which are told as rejected, and which are lost.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.agreement import compare
from benchmarks.peers import ray_data
from benchmarks.peers.job import Job
from benchmarks.peers.progress import Counts, new_progress, read_progress
from benchmarks.prompt_bucket import MEASURED, TITLES_PER_USER, TOO_LONG, make_nights
from benchmarks.report import markdown, told_run
from benchmarks.sides import OURS, environment
from inference.warehouse import Night
from schemas.contract import ContractError
from schemas.settings import settings
from schemas.tables import ARTWORK_SCORES, REJECTED_ROWS

ENGINE, ALL = "its engine", "all of it"
KILLS: dict[str, tuple[str, ...]] = {
    OURS: (ENGINE,),
    "text_sorted": (ENGINE,),
    "ray_data": (ENGINE, ALL),
    "ray_data_resuming": (ENGINE, ALL),
}
"""What is killed of each side: the process that holds its engine, or every process where that is not the only one."""
GOAL = 1.1
_TOO_LONG_EVERY = 1000 // TITLES_PER_USER
_TOLERANCE = 1e-3
_LOOKED_SECONDS = 0.002


@dataclass(frozen=True)
class Kill:
    """Kill `what` of a side as soon as its engine has answered `after` pairs."""

    what: str
    after: int


@dataclass(frozen=True)
class Watched:
    """One run of a side: what its engine answered, how it ended, and its scores if it came to the end.

    `then`: what had been answered when it was killed; `kept`: pairs whose scores were on disk then.
    """

    counts: Counts
    status: int
    scores: list[dict[str, Any]]
    said: str
    then: Counts
    kept: int


def run_watched(side: str, job: Job, folder: Path, kill: Kill | None = None) -> Watched:
    """Run a side. `folder` is new, job.into may not be. Raises RuntimeError where it ends before it is killed."""
    folder.mkdir()
    job.write(folder / "job.json")
    new_progress(folder / "progress")
    files = [folder / name for name in ("job.json", "progress", "scores.json")]
    then, kept = Counts(), 0
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.watched", side, *map(str, files)],
            env=environment(job),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while kill and read_progress(files[1]).pairs < kill.after:
                if process.poll() is not None:
                    raise RuntimeError(f"{side} ended before it was killed: take more --users; see {folder / 'log'}")
                time.sleep(_LOOKED_SECONDS)
            if kill:
                _kill(process.pid if kill.what == ALL else read_progress(files[1]).process)
                then, kept = read_progress(files[1]), kept_pairs(side, job)
            status = process.wait()
        finally:
            if process.poll() is None:
                _kill(process.pid)
                process.wait()
    scores = json.loads(files[2].read_text()) if files[2].exists() else []
    return Watched(read_progress(files[1]), status, scores, (folder / "log").read_text(), then, kept)


def _kill(pid: int) -> None:
    """A process and all that it has started."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            each.kill()


@dataclass(frozen=True)
class Killed:
    """A side that was killed half-way: tokens computed by one pass, till the kill (at most), and after it.

    `answered`: pairs that its engine had answered; `kept`: pairs whose scores were on disk; `again`: whether it had to
    be run again.
    """

    one_pass: int
    before: int
    after: int
    answered: int
    kept: int
    again: bool

    @property
    def passes(self) -> float:
        return (self.before + self.after) / self.one_pass


def killed(side: str, warehouse: Path, pairs: int, folder: Path) -> dict[str, Killed]:
    """By what was killed of it. Raises RuntimeError where a run fails or ends before its kill, ContractError where the
    scores after a kill are not those of the undisturbed run.
    """
    found = {}
    print(f"{side}: one pass", flush=True)
    whole = _ended(run_watched(side, _job(warehouse, folder / f"{side}-whole"), folder / f"{side}-pass"), side)
    for number, what in enumerate(KILLS[side]):
        job = _job(warehouse, folder / f"{side}-killed-{number}")
        print(f"{side}: {what} killed after {pairs // 2:,} pairs", flush=True)
        first = run_watched(side, job, folder / f"{side}-first-{number}", Kill(what, pairs // 2))
        last, after = first, first.counts.computed_tokens - first.then.computed_tokens
        if first.status:
            print(f"{side}: run again", flush=True)
            last = _ended(run_watched(side, job, folder / f"{side}-second-{number}"), side)
            after += last.counts.computed_tokens
        _same(f"{side}, {what} killed", whole.scores, last.scores)
        # The step that ran when the kill came is not told: it may have computed as many tokens as a step may have.
        before = first.then.computed_tokens + settings().max_num_batched_tokens
        one_pass = whole.counts.computed_tokens
        found[what] = Killed(one_pass, before, after, first.then.pairs, first.kept, again=first.status != 0)
    return found


def _same(run: str, undisturbed: list[dict[str, Any]], scores: list[dict[str, Any]]) -> None:
    """Raises ContractError where `scores` are not those of the undisturbed run, each pair once."""
    compare(run, undisturbed, scores, _TOLERANCE)
    if failed := sum(row["probabilities"] is None for row in scores):
        raise ContractError(f"{run}: {failed} pairs have no probabilities, expected none")


def _job(warehouse: Path, into: Path) -> Job:
    into.mkdir()
    return Job(str(warehouse), settings().model, str(into), 0)


def kept_pairs(side: str, job: Job) -> int:
    """Pairs whose scores are on disk."""
    if side == OURS:
        return sum(1 for _ in Night(job.warehouse, MEASURED, job.into).rows(ARTWORK_SCORES, ["user_id"]))
    into = Path(job.into)
    return sum(map(_rows, (*into.glob(f"{MEASURED}.parquet"), *into.glob(f"{MEASURED}/*.parquet"))))


def _rows(file: Path) -> int:
    """Of a file that may not be whole yet: none then."""
    with suppress(pa.ArrowInvalid):
        return int(pq.read_metadata(file).num_rows)
    return 0


def _ended(run: Watched, side: str) -> Watched:
    """The run. Raises RuntimeError, with the end of what it said, where it failed."""
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
    """Run a side on a night with too long prompts; where it fails, what is on disk counts as scored."""
    print(f"{side}: one prompt in a thousand too long", flush=True)
    job = _job(warehouse, folder / f"{side}-too-long")
    run = run_watched(side, job, folder / f"{side}-long")
    if run.status:
        reasons = re.findall(r"(\S+Error): ", run.said)
        ended = f"status {run.status}, {reasons[-1]}" if reasons else f"status {run.status}"
        return Survived(kept_pairs(side, job), 0, ended)
    if side == OURS:
        rejected = list(Night(str(warehouse), MEASURED, job.into).rows(REJECTED_ROWS, ["rule"]))
        return Survived(len(run.scores), sum(row["rule"] == "prompt_too_long" for row in rejected), "well")
    told = sum(row["probabilities"] is None for row in run.scores)
    return Survived(len(run.scores) - told, told, "well")


def told_killed(found: dict[str, dict[str, Killed]]) -> str:
    rows = [
        [
            side,
            what,
            "was run again" if each.again else "by itself",
            f"{each.one_pass:,}",
            f"{each.answered:,}",
            f"{each.kept:,}",
            f"{each.before:,}",
            f"{each.after:,}",
            f"{each.passes:.3f}",
        ]
        for side, kills in found.items()
        for what, each in kills.items()
    ]
    columns = (
        "side",
        "killed",
        "came to its end",
        "tokens of one pass",
        "killed after pairs",
        "pairs on disk",
        "computed",
        "after it",
        "all / one pass",
    )
    return markdown(columns, rows, texts=3)


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
    parser.add_argument("--sides", nargs="+", choices=KILLS, default=list(KILLS), help="default: all")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    users, pairs = arguments.users, arguments.users * TITLES_PER_USER
    sides = ray_data.runnable(arguments.sides)
    print(told_run(), flush=True)
    with tempfile.TemporaryDirectory(prefix="marquee-work-lost-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        make_nights(folder / "night", users, buckets=arguments.buckets)
        make_nights(folder / "too-long", users, buckets=arguments.buckets, too_long_every=_TOO_LONG_EVERY)
        killed_sides = {side: killed(side, folder / "night", pairs, folder) for side in sides}
        too_long = users // _TOO_LONG_EVERY
        survivors = {side: survived(side, folder / "too-long", folder) for side in sides}
    print(f"\n{users:,} users of {TITLES_PER_USER} pairs, {arguments.buckets} buckets")
    print("After each kill the scores are those of the undisturbed run.\n")
    print(told_killed(killed_sides))
    print(f"\nGoal: {GOAL} passes. Computed till the kill: with the most that the step in progress may have had.\n")
    print(told_survived(survivors, pairs, too_long))
    print(f"\nToo long is the title `{TOO_LONG}`, wanted by every {_TOO_LONG_EVERY}th user.")


if __name__ == "__main__":
    main()
