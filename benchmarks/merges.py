"""Publishing as `artwork_selections` grows: the time of a night's one MERGE, and what it rewrites.

In each MERGE a share of the users has new choices. The table has one bucket per 10,000 users and one file per bucket,
as after maintenance, and is restored to that after each MERGE.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import harness
from benchmarks.harness import Row, Table
from benchmarks.lookups import make_selections
from schemas.settings import Settings
from schemas.tables import ARTWORK_SELECTIONS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DS = date(2026, 1, 6)


def merge_once(spark: SparkSession, warehouse: Path, share: float) -> tuple[float, int, dict[str, int]]:
    """Switch that share of the users, by hash, to their least probable artworks in a MERGE, then restore the table.

    Returns the seconds of the MERGE, the number of rows to change, and the metrics of its commit.
    """
    from pyspark.sql import functions as F

    from benchmarks.spark_service import drawn, merge_metrics
    from spark_jobs.merging import merge
    from spark_jobs.warehouse import Warehouse

    tables = Warehouse(spark, Settings().model_copy(update={"warehouse": str(warehouse)}))
    before, target = tables.version(ARTWORK_SELECTIONS), tables.delta(ARTWORK_SELECTIONS)
    changes = tables.read(ARTWORK_SELECTIONS).where(drawn(share, "user_id")).withColumn("ds", F.lit(_DS))
    for column in ("artwork_id", "probability", "propensity"):
        changes = changes.withColumn(column, F.element_at("ranking", -1)[column])
    # As in publish, the changes are computed once, before the MERGE.
    rows = changes.persist().count()
    began = time.perf_counter()
    merge(target, changes, _DS)
    seconds = time.perf_counter() - began
    metrics = merge_metrics(tables.path(ARTWORK_SELECTIONS), before)
    changes.unpersist()
    target.restoreToVersion(before)
    return seconds, rows, metrics


def share_row(spark: SparkSession, warehouse: Path, share: float, repeats: int) -> Row:
    runs = [merge_once(spark, warehouse, share) for _ in range(repeats)]
    seconds = [each for each, _, _ in runs]
    _, rows, metrics = runs[0]
    return {
        "share of users": share,
        "rows changed": rows,
        **harness.spread(seconds),
        "rows copied": metrics.get("numTargetRowsCopied", 0),
        "MB written": metrics.get("numTargetBytesAdded", 0) / 2**20,
    }


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Table]:
    from spark_jobs.session import spark_session

    spark = spark_session("merges", **{"spark.master": "local[*]"})
    for rows in arguments.rows:
        warehouse = folder / f"{rows}"
        make_selections(warehouse, rows)
        # A warm-up: it compiles, and fills the page cache.
        merge_once(spark, warehouse, arguments.shares[0])
        found = [share_row(spark, warehouse, share, arguments.repeats) for share in arguments.shares]
        yield f"MERGE into {rows:,} rows", found
        shutil.rmtree(warehouse)
    spark.stop()


def main(arguments: list[str]) -> int:
    parser = harness.parser("merges", __doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6], help="sizes of the table")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.2, 1.0], help="users with new choices")
    parser.add_argument("--repeats", type=int, default=3, help="MERGEs of each share")
    return harness.run(parser, arguments, measure)
