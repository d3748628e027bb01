"""python -m benchmarks.nights [--users 1000 --titles 200] [--scratch FOLDER]

A night after a night: 0, 1, 5, 20 and 100 % of the users watched something new, then one title's artwork is replaced.
The real steps run on a simulated service (the Spark steps in one session, scoring as `python -m inference.score` with
the tiny Llama): pairs asked, rows rewritten and rows in the change feed, beside those that truly changed; and seconds,
beside the fixed ones (a night in which nothing changed, and the start of an engine) and the share of a full night's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.prompt_bucket import TITLES_PER_USER
from benchmarks.report import markdown, ratio, told_run
from inference.warehouse import Night as ScoredNight
from schemas.settings import Settings
from schemas.tables import ARTWORK_SELECTIONS, NIGHT_STEPS, SCORING_RUNS

if TYPE_CHECKING:
    from benchmarks.spark_nights import Counted, LivingService

SHARES = (0.0, 0.01, 0.05, 0.2, 1.0)
GOAL = 0.1
STEPS = ("validate", "candidates", "contexts", "score", "audit", "publish")
FIRST, REPLACED = "first", "one artwork replaced"


@dataclass(frozen=True)
class Night:
    """One night. `seconds` of each step as `night_steps` has them; `scoring`: between first prompt and last score."""

    name: str
    counted: Counted
    seconds: dict[str, float]
    scoring: float

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def run_night(service: LivingService, number: int, name: str, share: float, replaces: bool) -> Night:
    """The night `number` from its inputs to what it published."""
    from benchmarks.spark_nights import AFTER, BEFORE, counted, day
    from spark_jobs.warehouse import Night as SparkNight

    ds, warehouse = day(number), service.warehouse
    print(f"{name}: the night of {ds}", flush=True)
    service.want(ds)
    if number:
        service.watch(ds, share)
    replaced = service.replace_artwork(ds) if replaces else None
    night = SparkNight(warehouse, ds)
    before = warehouse.version(ARTWORK_SELECTIONS) if warehouse.has(ARTWORK_SELECTIONS) else 0
    for step in BEFORE:
        step(night)
        warehouse.spark.catalog.clearCache()
    _score(warehouse.settings.warehouse, ds)
    for step in AFTER:
        step(night)
        warehouse.spark.catalog.clearCache()
    scored = ScoredNight(warehouse.settings.warehouse, ds)
    seconds = {row["step"]: row["seconds"] for row in scored.rows(NIGHT_STEPS, ["step", "seconds"])}
    seconds["score"] = seconds.pop("score_0")
    scoring = sum(row["seconds"] for row in scored.rows(SCORING_RUNS, ["seconds"]))
    found = counted(night, before, replaced)
    print(f"  {sum(seconds.values()):.1f} s; {found}", flush=True)
    return Night(name, found, seconds, scoring)


def _score(warehouse: str, ds: date) -> None:
    command = [sys.executable, "-m", "inference.score", "--ds", str(ds)]
    began = time.perf_counter()
    subprocess.run(command, env={**os.environ, "MARQUEE_WAREHOUSE": warehouse}, check=True, stderr=subprocess.DEVNULL)
    print(f"scoring's process: {time.perf_counter() - began:.1f} s, imports included", flush=True)


def expected_seconds(night: Night, idle: Night, full: Night) -> tuple[float, float]:
    """(fixed, fixed + share): an idle night, and an engine's start where any pair is asked; then the night's share of
    what a night in which everybody watched took beyond that.
    """
    start = full.seconds["score"] - full.scoring
    fixed = idle.total + (start if night.counted.asked else 0)
    share = night.counted.changed / full.counted.changed
    return fixed, fixed + share * (full.total - idle.total - start)


def told_rows(nights: list[Night]) -> str:
    """Pairs and rows by night, each over what truly changed."""
    rows = []
    for night in nights:
        found = night.counted
        rows.append(
            [
                night.name,
                f"{found.changed / found.wanted:.1%}",
                f"{found.changed:,}",
                f"{found.asked:,}",
                ratio(found.asked, found.changed),
                f"{found.redrawn:,}",
                f"{found.rewritten:,}",
                ratio(found.rewritten, found.changed + found.redrawn),
                f"{found.feed:,}",
                ratio(found.feed, found.changed + found.redrawn),
                f"{found.files_added:,} / {found.files_removed:,}",
            ]
        )
    columns = ("night", "changed", "pairs changed", "asked", "/ changed", "drawn again", "rewritten", "/ due", "feed")
    return markdown([*columns, "/ due", "files + / −"], rows)


def told_seconds(nights: list[Night], idle: Night, full: Night) -> str:
    """Seconds by step, and what they should have been."""
    rows = []
    for night in nights:
        fixed, expected = expected_seconds(night, idle, full)
        rows.append(
            [
                night.name,
                *(f"{night.seconds[step]:.1f}" for step in STEPS),
                f"{night.scoring:.1f}",
                f"{night.total:.1f}",
                f"{fixed:.1f}",
                f"{expected:.1f}",
                ratio(night.total, expected),
            ]
        )
    columns = ("night", *STEPS, "of score, scoring", "all", "fixed", "fixed + share", "all / that")
    return markdown(columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--users", type=int, default=1000, help=f"of {TITLES_PER_USER} wanted pairs each; default: %(default)s"
    )
    parser.add_argument("--titles", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    from benchmarks.spark_nights import LivingService, make_service
    from spark_jobs.session import spark_session
    from spark_jobs.warehouse import Warehouse

    print(told_run(), flush=True)
    with tempfile.TemporaryDirectory(prefix="marquee-nights-", dir=arguments.scratch) as scratch:
        folder = Path(scratch) / "warehouse"
        make_service(folder, arguments.users, arguments.titles)
        # The checkpoint of the settings scores, whoever is champion elsewhere.
        configured = Settings().model_copy(update={"warehouse": str(folder), "registry": None})
        spark = spark_session("nights", **{"spark.master": "local[*]"})
        service = LivingService(Warehouse(spark, configured), arguments.users, arguments.titles)
        planned = [(FIRST, 0.0), *((f"{share:.0%} watched", share) for share in SHARES), (REPLACED, 0.0)]
        nights = [
            run_night(service, number, name, share, name == REPLACED) for number, (name, share) in enumerate(planned)
        ]
        spark.stop()
    # The first night asks everything, of a new warehouse; it also warms the session up.
    later, idle, full = nights[1:], nights[1], nights[len(SHARES)]
    print(f"\n{arguments.users:,} users, {nights[0].counted.wanted:,} wanted pairs, all asked on the first night\n")
    print(told_rows(later))
    print(f"\nDue: pairs changed and pairs drawn again. Goal: each ratio within {GOAL:.0%} of 1.\n")
    print(told_seconds(later, idle, full))
    print("\nFixed: the night in which nobody watched anything, and the start of an engine where a pair is asked.")


if __name__ == "__main__":
    main()
