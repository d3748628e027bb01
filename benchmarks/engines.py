"""python -m benchmarks.engines [--users 500] [--repeats 3] [--model tiny] [--scratch FOLDER]

Several engines: one night scored by one process that has all processors, by one that has half of them, and as two
shards by two processes at the same time, half each. Every run is `python -m inference.score`, in alternating order;
it is checked that all give the same scores. Two engines can at best do what all processors do.

A night's Spark steps on a standalone cluster of two workers are run by scripts/spark_cluster.sh.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.agreement import compare
from benchmarks.peers.job import Job
from benchmarks.peers.marquee import scores
from benchmarks.prompt_bucket import MEASURED, TITLES_PER_USER, make_nights
from benchmarks.random_llama import SHAPES, TINY, model_called
from benchmarks.repeats import alternating
from benchmarks.report import markdown, told_run
from benchmarks.scoring_process import Scoring, score_night

_BUCKETS = 16
_TOLERANCE = 1e-3


def ways(processors: int) -> dict[str, Sequence[str]]:
    """The ways to use the machine: for each shard, the processors of its process."""
    half = processors // 2
    first, second = _range(0, half), _range(half, processors)
    return {
        "one engine": [_range(0, processors)],
        "one engine, half the processors": [first],
        "two engines, half the processors each": [first, second],
    }


def _range(first: int, end: int) -> str:
    return f"{first}-{end - 1}"


def told(found: dict[str, list[Scoring]]) -> str:
    """Medians by way, and how many times as fast as one engine with everything each is."""
    base = next(iter(found.values()))
    rows = []
    for name, runs in found.items():
        seconds, scoring = (median(values) for values in (_walls(runs), _scorings(runs)))
        rows.append(
            [
                name,
                f"{seconds:.1f}",
                f"{min(_walls(runs)):.1f}–{max(_walls(runs)):.1f}",
                f"{scoring:.1f}",
                f"{runs[0].pairs / scoring:,.0f}",
                f"{median(_walls(base)) / seconds:.2f} ×",
                f"{median(_scorings(base)) / scoring:.2f} ×",
                f"{max(run.peak_rss_mb for run in runs):,}",
            ]
        )
    columns = ("way", "seconds", "range", "of them scoring", "pairs/s", "as fast", "as fast, scoring", "peak MB each")
    return markdown(columns, rows)


def _walls(runs: list[Scoring]) -> list[float]:
    return [run.seconds for run in runs]


def _scorings(runs: list[Scoring]) -> list[float]:
    return [run.scoring_seconds for run in runs]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=500, help=f"of {TITLES_PER_USER} pairs each; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--model", choices=(TINY, *SHAPES), default=TINY, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    processors = os.cpu_count() or 1
    if processors < 2:
        parser.error("this machine has one processor; two engines need two")
    print(told_run(), flush=True)
    with tempfile.TemporaryDirectory(prefix="marquee-engines-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        checkpoint = model_called(arguments.model, folder)
        make_nights(folder / "night", arguments.users, buckets=_BUCKETS)
        by_name = ways(processors)
        found: dict[str, list[Scoring]] = {name: [] for name in by_name}
        reference: list[dict[str, Any]] = []
        for repeat, order in enumerate(alternating(list(by_name), arguments.repeats)):
            for name in order:
                into = folder / f"{name.replace(' ', '-')}-{repeat}"
                run = score_night(folder / "night", checkpoint.path, into, by_name[name], folder)
                found[name].append(run)
                print(f"  {name}: {run.seconds:.1f} s, {run.scoring_seconds:.1f} s of them scoring", flush=True)
                scored = scores(Job(str(folder / "night"), str(checkpoint.path), str(into), 0), MEASURED)
                reference = reference or scored
                compare(name, reference, scored, _TOLERANCE)
    print(f"\n{checkpoint.version}, {found['one engine'][0].pairs:,} pairs in {_BUCKETS} buckets; all scores agree\n")
    print(told(found))


if __name__ == "__main__":
    main()
