"""python -m benchmarks.prompts [--users 1000 10000 100000] [--repeats 3] [--sides Marquee] [--skew-users 10000] …

Prompt building: Marquee's step contexts, which writes a context a user and a choice a title, against the flat join,
which writes one prompt text a pair. Both start from the same history, catalogue and wanted pairs (20 a user, 22
viewings), in one Spark session, in alternating order; where both are built, it is checked that they hold the same
prompts. Then a skew test of Marquee's step: the same users again, with one title that everyone watched and one user
with 50,000 viewings; a stage is told by its longest task over its median one, and Spark may not merge small partitions,
which would hide it.

A million users take some 10 GB of scratch for Marquee's tables and inputs, and what 20 million prompts take for the
flat join.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from benchmarks.prompt_bucket import TITLES_PER_USER
from benchmarks.repeats import alternating
from benchmarks.report import markdown, ratio, told_run
from schemas.tables import TITLE_CHOICES, USER_CONTEXTS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from benchmarks.spark_stages import Stage, StageLog
    from spark_jobs.warehouse import Night

SIDES = OURS, FLAT_JOIN = "Marquee", "flat join"
_WARM_UP_USERS = 100
# Marquee's own step is what the skew test looks at.
_GOAL_BYTES, _GOAL_SKEW = 30, 3
# A shuffle of the flat join carries some 2 GB for 50,000 users.
_USERS_A_PARTITION = 12_500
# The largest task over the median one says nothing of tasks shorter than this.
_LONG_SECONDS = 0.2


@dataclass(frozen=True)
class Built:
    """One side, once."""

    seconds: float
    shuffled: int
    spilled: int
    stages: list[Stage]


@dataclass(frozen=True)
class Side:
    """The runs of one side for one number of users, and the bytes that it left on disk."""

    runs: list[Built]
    stored: int

    @property
    def seconds(self) -> float:
        return median(run.seconds for run in self.runs)

    @property
    def shuffled(self) -> float:
        return median(run.shuffled for run in self.runs)


def build(night: Night, step: Callable[[Night], None], log: StageLog) -> Built:
    """Run a step by the clock, with nothing cached from the one before."""
    night.spark.catalog.clearCache()
    log.take()
    began = time.perf_counter()
    step(night)
    seconds = time.perf_counter() - began
    stages = log.take()
    return Built(seconds, sum(stage.shuffled for stage in stages), sum(stage.spilled for stage in stages), stages)


def stored_bytes(folder: str) -> int:
    """Bytes of the files that are part of a table now."""
    files = DeltaTable(folder).file_uris()
    return sum(Path(uri.removeprefix("file://")).stat().st_size for uri in files)


def measure(night: Night, sides: Sequence[str], repeats: int, log: StageLog) -> dict[str, Side]:
    """The sides on one night. Raises AssertionError where two do not hold the same prompts."""
    from benchmarks.spark_flat import both_hold, flat_path, write_flat
    from spark_jobs.contexts import contexts

    every: dict[str, Callable[[Night], None]] = {OURS: contexts, FLAT_JOIN: write_flat}
    steps = {side: every[side] for side in sides}
    runs: dict[str, list[Built]] = {side: [] for side in steps}
    for order in alternating(list(steps), repeats):
        for side in order:
            runs[side].append(build(night, steps[side], log))
            print(f"  {side}: {runs[side][-1].seconds:.1f} s", flush=True)
    if len(steps) > 1:
        ours, flat = both_hold(night)
        if ours != flat:
            raise AssertionError(f"the sides hold other prompts: {ours} and {flat} (number, characters, hash)")
        print(f"  both hold the same {ours[0]:,} prompts of {ours[1] / max(ours[0], 1):,.0f} characters", flush=True)
    warehouse = night.settings.warehouse
    folders = {
        OURS: [f"{warehouse}/{table.name}" for table in (USER_CONTEXTS, TITLE_CHOICES)],
        FLAT_JOIN: [flat_path(night)],
    }
    return {side: Side(runs[side], sum(map(stored_bytes, folders[side]))) for side in steps}


def told_sizes(found: dict[int, dict[str, Side]]) -> str:
    """Seconds, shuffles and bytes by users and side, and the flat join's over Marquee's."""
    rows = []
    for users, sides in found.items():
        pairs = users * TITLES_PER_USER
        for name, side in sides.items():
            times = [run.seconds for run in side.runs]
            rows.append(
                [
                    name,
                    f"{users:,}",
                    f"{side.seconds:.1f}",
                    f"{min(times):.1f}–{max(times):.1f}",
                    f"{1000 * side.seconds / users:.3f}",
                    f"{side.shuffled / 2**20:,.1f}",
                    f"{max(run.spilled for run in side.runs) / 2**20:,.0f}",
                    f"{side.stored / pairs:,.2f}",
                ]
            )
        if len(sides) == 1:
            continue
        ours, flat = sides[OURS], sides[FLAT_JOIN]
        shares = (flat.seconds / ours.seconds, ratio(flat.shuffled, ours.shuffled), ratio(flat.stored, ours.stored))
        rows.append(
            [
                f"{FLAT_JOIN} / {OURS}",
                f"{users:,}",
                f"{shares[0]:.2f} ×",
                "",
                "",
                f"{shares[1]} ×",
                "",
                f"{shares[2]} ×",
            ]
        )
    columns = ("side", "users", "seconds", "range", "ms a user", "MB shuffled", "MB spilled", "bytes a pair")
    return markdown(columns, rows)


def told_skew(stages: list[Stage], name: str) -> str:
    """The stages with more than one task that read anything, and how uneven they were."""
    rows = [
        [
            name,
            f"`{stage.name.partition(' ')[0]}`",
            f"{len(stage.seconds)}",
            f"{median(stage.seconds):.2f}",
            f"{stage.slowest:.2f}",
            f"{stage.time_skew:.2f}",
            f"{stage.row_skew:.2f}",
        ]
        for stage in stages
        if len(stage.seconds) > 1 and max(stage.rows) > 0
    ]
    columns = ("inputs", "stage", "tasks", "median s", "longest s", "longest / median", "most rows / median")
    return markdown(columns, rows, texts=2)


def worst(stages: list[Stage]) -> str:
    """The goal's line: of the stages whose longest task is long enough to say something, the most uneven one."""
    long = [stage.time_skew for stage in stages if len(stage.seconds) > 1 and stage.slowest >= _LONG_SECONDS]
    if not long:
        return f"no stage had a task of {_LONG_SECONDS:g} s or more: too few users to tell"
    return f"largest task over the median, of stages with a task of {_LONG_SECONDS:g} s or more: {max(long):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.prompts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[10**3, 10**4, 10**5], help="default: %(default)s")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="default: both")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--skew-users", type=int, default=10**4, help="of the skew test; 0: none. Default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    from benchmarks.spark_stages import WITH_INTERFACE, StageLog
    from spark_jobs.session import spark_session

    print(told_run(), flush=True)
    with tempfile.TemporaryDirectory(prefix="marquee-prompts-", dir=arguments.scratch) as folder:
        spark = spark_session("prompts", **{"spark.master": "local[*]", **WITH_INTERFACE})
        log = StageLog(spark)
        # Compiles what each side runs.
        measure(made(spark, Path(folder) / "warm-up", _WARM_UP_USERS, skewed=False), arguments.sides, 1, log)
        found = {}
        for users in arguments.users:
            night = made(spark, Path(folder) / f"{users}", users, skewed=False)
            found[users] = measure(night, arguments.sides, arguments.repeats, log)
            shutil.rmtree(night.settings.warehouse)
            print(f"\n{told_sizes(found)}\n", flush=True)
        print(f"Goal: {_GOAL_BYTES} times fewer bytes a pair; ms a user flat or falling from 10,000 users on.\n")
        if arguments.skew_users:
            print(skew_test(spark, Path(folder), arguments.skew_users, log))
        spark.stop()


def made(spark: SparkSession, folder: Path, users: int, skewed: bool) -> Night:
    from benchmarks.spark_inputs import make_inputs, settings_for

    print(f"{users:,} users{', skewed' if skewed else ''}: making inputs", flush=True)
    spark.conf.set("spark.sql.shuffle.partitions", str(max(8, users // _USERS_A_PARTITION)))
    return make_inputs(spark, settings_for(str(folder), users), users, skewed)


def skew_test(spark: SparkSession, folder: Path, users: int, log: StageLog) -> str:
    """The step contexts on even and on skewed inputs, stage by stage."""
    from spark_jobs.contexts import contexts

    told = []
    spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "false")
    for name, skewed in (("even", False), ("skewed", True)):
        night = made(spark, folder / name, users, skewed)
        # The second counts: the first one fills the page cache.
        runs = [build(night, contexts, log) for _ in range(2)]
        told.append(
            f"{told_skew(runs[-1].stages, name)}\n\n{name}, {runs[-1].seconds:.1f} s: {worst(runs[-1].stages)}\n"
        )
    return "\n".join([*told, f"Goal: no stage whose largest task is over {_GOAL_SKEW} times the median."])


if __name__ == "__main__":
    main()
