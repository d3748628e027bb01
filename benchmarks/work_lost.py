"""Work lost if scoring is killed half-way: Marquee against one sorted `LLM.generate` and Ray Data.

Each side first scores the night undisturbed. Then it starts anew, is killed (SIGKILL, all its processes) after half of
the time that it took, and runs again. A side that loses nothing has half of the tokens left for that last run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Row, Table
from benchmarks.peers import ray_data
from benchmarks.peers.job import Job
from benchmarks.prompt_bucket import TITLES_PER_USER, make_nights
from benchmarks.sides import MARQUEE, compare, kill_side, run_side

SIDES = (MARQUEE, "text_sorted", "ray_data")


def killed(side: str, job: Job, folder: Path) -> Row:
    """Kill a side half-way and run it again. Raises ContractError if that changes its scores."""
    whole = run_side(side, job, folder / "undisturbed")
    print(f"{side} is run again, killed after {whole.seconds / 2:.1f} s, and run to its end", flush=True)
    kill_side(side, job, folder / "killed", whole.seconds / 2)
    again = run_side(side, job, folder / "killed")
    compare(side, whole.scores, again.scores)
    return {
        "side": side,
        "pairs": len(whole.scores),
        "prompt tokens of one pass": whole.prompt_tokens,
        "after the kill": again.prompt_tokens,
        "share": again.prompt_tokens / whole.prompt_tokens,
        "computed tokens of one pass": whole.computed_tokens,
        "computed after the kill": again.computed_tokens,
        "share of computed": harness.ratio(again.computed_tokens, whole.computed_tokens),
    }


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Table]:
    make_nights(folder / "night", arguments.users, buckets=arguments.buckets)
    job = Job(str(folder / "night"))
    rows = [killed(side, job, folder / side) for side in ray_data.runnable(SIDES)]
    yield f"{arguments.users:,} users of {TITLES_PER_USER} pairs, {arguments.buckets} buckets", rows


def main(arguments: list[str]) -> int:
    parser = harness.parser("work_lost", __doc__)
    parser.add_argument("--users", type=int, default=400, help="users, of 20 pairs each")
    parser.add_argument("--buckets", type=int, default=16, help="buckets of the night")
    return harness.run(parser, arguments, measure)
