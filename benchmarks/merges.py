"""python -m benchmarks.merges [--rows 100000 1000000] [--shares 0.01 0.05 0.2 1] [--repeats 3] [--buckets N]

Publishing, as `artwork_selections` grows: the seconds of the one MERGE (spark_jobs/publish.py) when that share of the
users has new choices, and what it does to the table's files. The table has one bucket for every 10,000 users unless
their number is given, and one file a bucket, as after maintenance; before each MERGE it is restored to that.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.report import markdown, ratio, told_run
from benchmarks.selections_table import USERS_A_BUCKET, buckets_for, make_selections
from schemas.settings import Settings
from schemas.tables import ARTWORK_SELECTIONS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_DS = date(2026, 1, 6)
_PARTS = 10_000


@dataclass(frozen=True)
class Merged:
    """One MERGE: rows that were to change, and the metrics of its commit."""

    seconds: float
    rows: int
    metrics: dict[str, int]


def changed(selections: DataFrame, share: float) -> DataFrame:
    """The rows of that share of the users, by hash, as a later night would have chosen: the least probable artwork."""
    from pyspark.sql import functions as F

    drawn = F.pmod(F.xxhash64("user_id"), F.lit(_PARTS)) < int(share * _PARTS)
    last = F.element_at("ranking", -1)
    return (
        selections.where(drawn)
        .withColumn("artwork_id", last["artwork_id"])
        .withColumn("probability", last["probability"])
        .withColumn("propensity", last["propensity"])
        .withColumn("prompt_hash", F.xxhash64("prompt_hash"))
        .withColumn("ds", F.lit(_DS))
        .select(*ARTWORK_SELECTIONS.column_names)
    )


def merge_once(spark: SparkSession, warehouse: Path, share: float) -> Merged:
    """Merge that share's rows by the clock, then put the table back as it was."""
    from benchmarks.spark_nights import merge_metrics
    from spark_jobs.publish import merge
    from spark_jobs.warehouse import Warehouse

    tables = Warehouse(spark, Settings().model_copy(update={"warehouse": str(warehouse)}))
    path, before = tables.path(ARTWORK_SELECTIONS), tables.version(ARTWORK_SELECTIONS)
    target = tables.delta(ARTWORK_SELECTIONS)
    # As publish does: the changes are made once, then counted and merged.
    changes = changed(tables.read(ARTWORK_SELECTIONS), share).persist()
    rows = changes.count()
    began = time.perf_counter()
    merge(target, changes, _DS)
    seconds = time.perf_counter() - began
    found = Merged(seconds, rows, merge_metrics(path, before))
    changes.unpersist()
    target.restoreToVersion(before)
    return found


def told(found: dict[tuple[int, int, float], list[Merged]], sizes: dict[int, int]) -> str:
    """Medians by (rows, buckets, share of users), `sizes` in bytes by rows."""
    lines = []
    for (rows, buckets, share), runs in found.items():
        metrics = runs[0].metrics
        seconds = [run.seconds for run in runs]
        copied = metrics.get("numTargetRowsCopied", 0)
        written = metrics.get("numTargetBytesAdded", 0)
        lines.append(
            [
                f"{rows:,}",
                f"{buckets:,}",
                f"{share:.0%}",
                f"{runs[0].rows:,}",
                f"{median(seconds):.1f}",
                f"{min(seconds):.1f}–{max(seconds):.1f}",
                f"{runs[0].rows / median(seconds):,.0f}",
                f"{copied:,}",
                ratio(copied + runs[0].rows, runs[0].rows),
                f"{metrics.get('numTargetFilesAdded', 0):,}",
                f"{metrics.get('numTargetFilesRemoved', 0):,}",
                f"{metrics.get('numTargetDeletionVectorsAdded', 0):,}",
                f"{written / 2**20:,.1f}",
                ratio(written, sizes[rows]),
            ]
        )
    columns = ("rows", "buckets", "users", "rows changed", "seconds", "range", "rows/s", "copied", "written / changed")
    files = ("files +", "files −", "deletion vectors +", "MB written", "of the table")
    return markdown([*columns, *files], lines, texts=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.merges", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6], help="sizes; default: %(default)s")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05, 0.2, 1.0], help="default: %(default)s")
    parser.add_argument("--buckets", type=int, help=f"default: one for {USERS_A_BUCKET:,} users")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an existing folder for the tables; default: a temporary one")
    arguments = parser.parse_args()
    from spark_jobs.session import spark_session

    print(told_run(), flush=True)
    spark = spark_session("merges", **{"spark.master": "local[*]"})
    found: dict[tuple[int, int, float], list[Merged]] = {}
    sizes = {}
    for rows in arguments.rows:
        buckets = arguments.buckets or buckets_for(rows)
        with tempfile.TemporaryDirectory(prefix="marquee-merges-", dir=arguments.scratch) as folder:
            print(f"{rows:,} rows in {buckets:,} buckets: making the table", flush=True)
            make_selections(Path(folder), rows, buckets)
            sizes[rows] = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
            # Compiles, and fills the page cache.
            merge_once(spark, Path(folder), arguments.shares[0])
            for share in arguments.shares:
                runs = [merge_once(spark, Path(folder), share) for _ in range(arguments.repeats)]
                found[rows, buckets, share] = runs
                print(f"  {share:.0%} of the users: {[round(run.seconds, 1) for run in runs]} s", flush=True)
        print(f"\n{told(found, sizes)}\n", flush=True)
    spark.stop()
    print("Users: those who changed. Written / changed: of rows.")


if __name__ == "__main__":
    main()
