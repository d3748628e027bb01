"""Scores per second: Marquee against three other ways to score the same pairs.

Every side starts from the same pairs on disk and ends with scores on disk. Each is in benchmarks/peers and runs in
its own process, once per repeat, in alternating order. Its start (imports, weights, engine) and a warm-up are
not timed. All sides must give the same probabilities. MARQUEE_… settings apply to every side.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import harness
from benchmarks.harness import Row, Table
from benchmarks.night_counts import token_counts
from benchmarks.peers import ray_data
from benchmarks.peers.__main__ import SIDES
from benchmarks.peers.job import Job
from benchmarks.prompt_bucket import MEASURED, make_nights
from benchmarks.sides import MARQUEE, Run, compare, run_side
from inference.job import ScoringJob
from inference.tokens import Tokens

# The side whose engine starts in the timed part, once per night.
RAY = "ray_data"


def speeds(runs: dict[str, list[Run]], pairs: int) -> Iterator[Row]:
    """A row per side; a second one for Ray Data, without the time of its start, which the warm-up measures.

    Raises ContractError if a run's probabilities differ from those of Marquee's first run.
    """
    seconds = {side: [run.seconds for run in found] for side, found in runs.items()}
    if RAY in runs:
        seconds[f"{RAY} without its start"] = [run.seconds - run.warm_up_seconds for run in runs[RAY]]
    for name, found in seconds.items():
        side = name.split()[0]
        agreements = [compare(side, runs[MARQUEE][0].scores, run.scores) for run in runs[side]]
        first = runs[side][0]
        yield {
            "side": name,
            "pairs/s": pairs / median(found),
            **harness.timing(found, seconds[MARQUEE]),
            "computed / prompt": harness.ratio(first.computed_tokens, first.prompt_tokens),
            "largest difference": agreements[0],
        }


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Table]:
    make_nights(folder / "night", arguments.users)
    job = Job(str(folder / "night"))
    limit, block_size = job.checkpoint.max_model_len - 1, job.settings.steps(on_cpu=True).block_size
    tables, numbers = ScoringJob(job.warehouse, MEASURED), count()
    night = token_counts(tables, Tokens(job.checkpoint), limit, block_size)
    sides = ray_data.runnable([MARQUEE, *(side for side in arguments.sides if side != MARQUEE)])

    def run(side: str) -> Run:
        return run_side(side, job, folder / f"{side}-{next(numbers)}")

    runs = harness.alternating({side: partial(run, side) for side in sides}, arguments.repeats)
    tokens = f"{night.context:.0f} tokens a context, {night.prompt_tokens / night.pairs:.0f} a prompt"
    yield f"{job.checkpoint.version}: {night.pairs:,} pairs; {tokens}", list(speeds(runs, night.pairs))
    ours = runs[MARQUEE][0]
    cached, shared = ours.prompt_tokens - (ours.computed_tokens or 0), night.shared_tokens
    share: Row = {"cached tokens": cached, "shared by a user's pairs": shared, "ratio": harness.ratio(cached, shared)}
    yield "Marquee's prefix cache, against one that forgets no user's context", [share]


def main(arguments: list[str]) -> int:
    parser = harness.parser("scoring", __doc__)
    parser.add_argument("--users", type=int, default=500, help="users, of 20 pairs each")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="what to compare Marquee with")
    return harness.run(parser, arguments, measure)
