"""python -m benchmarks.memory [--users 1000 10000 100000] [--titles 2] [--scratch FOLDER]

The most memory that a scoring process holds, for one bucket of more and more users: `python -m inference.score` with a
Llama of random weights, tiny, and few titles a user, so that it ends. The prefix cache and the weights are the same for
all; a bucket's own rows must not add to them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from benchmarks.prompt_bucket import make_nights
from benchmarks.random_llama import make_random_llama
from benchmarks.report import markdown, told_run
from benchmarks.scoring_process import Scoring, score_night
from inference.checkpoint import read_checkpoint
from schemas.settings import settings


def told(found: dict[int, Scoring]) -> str:
    """Peaks by users, and how many times the one of the smallest bucket each is."""
    smallest = found[min(found)].peak_rss_mb
    rows = [
        [
            f"{users:,}",
            f"{each.pairs:,}",
            f"{each.peak_rss_mb:,}",
            f"{each.peak_rss_mb / smallest:.3f}",
            f"{1024 * (each.peak_rss_mb - smallest) / max(users - min(found), 1):.1f}",
            f"{each.scoring_seconds:.0f}",
        ]
        for users, each in sorted(found.items())
    ]
    columns = ("users in the bucket", "pairs", "peak MB", "times the smallest", "more KB a user", "seconds of scoring")
    return markdown(columns, rows, texts=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[10**3, 10**4, 10**5], help="default: %(default)s")
    parser.add_argument("--titles", type=int, default=2, help="of each user; default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    print(told_run(), flush=True)
    everything = f"0-{(os.cpu_count() or 1) - 1}"
    found = {}
    with tempfile.TemporaryDirectory(prefix="marquee-memory-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        like = read_checkpoint(settings().model)
        model = make_random_llama(folder / "model", like, "random-tiny")
        for users in arguments.users:
            print(f"{users:,} users: making the bucket", flush=True)
            warehouse = folder / f"{users}"
            make_nights(warehouse, users, arguments.titles)
            print(f"{users:,} users: scoring", flush=True)
            found[users] = score_night(warehouse, model.path, folder / f"{users}-scores", [everything], folder)
            print(f"  {found[users].peak_rss_mb:,} MB", flush=True)
            shutil.rmtree(warehouse)
    print(f"\n{model.version}, a prefix cache of {settings().cpu_cache_gib} GiB:\n\n{told(found)}\n\nGoal: flat.")


if __name__ == "__main__":
    main()
