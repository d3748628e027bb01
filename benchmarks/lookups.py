"""python -m benchmarks.lookups [--rows 100000 1000000] [--buckets N] [--lookups 20] [--readers deltalake …]

One lookup of one pair in `artwork_selections` as the table grows: milliseconds, files opened and bytes read, by the
recipes of docs/reading.md as they stand there, each of which opens the table anew, and by a service that keeps it open
(serving/selections.py). The table has one bucket for every 10,000 users unless their number is given, and one file a
bucket.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.files_read import OpenedFiles, bytes_read
from benchmarks.prompt_bucket import TITLES_PER_USER
from benchmarks.recipes import recipes, run_recipe
from benchmarks.report import markdown, told_run
from benchmarks.selections_table import USERS_A_BUCKET, buckets_for, make_selections, titles_of
from schemas.tables import ARTWORK_SELECTIONS
from serving.selections import Selections

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Lookup = Callable[[str, str], list[dict[str, Any]]]

READERS = ("deltalake", "Polars", "DuckDB", "PySpark")
KEPT_OPEN = "deltalake, kept open"
_TASK = "One pair"
_COLUMNS = ("reader", "rows", "buckets", "MB", "ms", "slowest", "data files", "log files", "KiB read")
# The first ones import, compile and fill the page cache.
_WARM_UPS = 3


@dataclass(frozen=True)
class Measured:
    """One reader on one table: medians over its lookups, and the slowest."""

    milliseconds: float
    slowest: float
    data_files: float
    log_files: float
    kilobytes: float

    def cells(self) -> list[str]:
        return [
            f"{self.milliseconds:,.1f}",
            f"{self.slowest:,.1f}",
            f"{self.data_files:g}",
            f"{self.log_files:g}",
            f"{self.kilobytes:,.0f}",
        ]


def measure(lookup: Lookup, pairs: list[tuple[str, str]], table: Path) -> Measured:
    """Look up each pair by the clock, after the first few. Raises LookupError where a pair has not one row."""
    opened = OpenedFiles(table)
    found = []
    for number, (user_id, title_id) in enumerate(pairs):
        opened.take()
        read, began = bytes_read(), time.perf_counter()
        rows = lookup(user_id, title_id)
        seconds, read = time.perf_counter() - began, bytes_read() - read
        if len(rows) != 1:
            raise LookupError(f"{user_id}, {title_id}: {len(rows)} rows were found, one was expected")
        files = opened.take()
        data = sum(file.suffix == ".parquet" and "_delta_log" not in file.parts for file in files)
        log = sum("_delta_log" in file.parts and file.suffix != ".crc" for file in files)
        if number >= _WARM_UPS:
            found.append((seconds * 1000, data, log, read / 1024))
    opened.close()
    times, data_files, log_files, kilobytes = zip(*found, strict=True)
    return Measured(median(times), max(times), median(data_files), median(log_files), median(kilobytes))


def lookups_of(warehouse: Path, readers: list[str], spark: SparkSession | None) -> dict[str, Lookup]:
    """A lookup by each reader."""
    code = recipes()

    def by(reader: str) -> Lookup:
        def lookup(user_id: str, title_id: str) -> list[dict[str, Any]]:
            given = {"warehouse": str(warehouse), "user_id": user_id, "title_id": title_id, "spark": spark}
            return run_recipe(code[reader, _TASK], reader, given)

        return lookup

    selections = Selections.of(str(warehouse))

    def kept_open(user_id: str, title_id: str) -> list[dict[str, Any]]:
        found = selections.of_pair(user_id, title_id)
        return [found] if found else []

    return {KEPT_OPEN: kept_open, **{reader: by(reader) for reader in readers}}


def some_pairs(rows: int, count: int) -> list[tuple[str, str]]:
    """Pairs of users drawn evenly from the whole table."""
    rng = np.random.default_rng(rows)
    users = [f"u{number}" for number in rng.integers(rows // TITLES_PER_USER, size=count)]
    return [(user, f"t{titles_of(user)[index % TITLES_PER_USER]}") for index, user in enumerate(users)]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lookups", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6], help="sizes; default: %(default)s")
    parser.add_argument("--buckets", type=int, help=f"default: one for {USERS_A_BUCKET:,} users")
    parser.add_argument("--lookups", type=int, default=20, help="by each reader; default: %(default)s")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS), help="default: all")
    parser.add_argument("--scratch", type=Path, help="an existing folder for the tables; default: a temporary one")
    arguments = parser.parse_args()
    print(told_run(), flush=True)
    spark = None
    if "PySpark" in arguments.readers:
        from spark_jobs.session import spark_session

        spark = spark_session("lookups", **{"spark.master": "local[2]"})
    shown = []
    for rows in arguments.rows:
        buckets = arguments.buckets or buckets_for(rows)
        with tempfile.TemporaryDirectory(prefix="marquee-lookups-", dir=arguments.scratch) as folder:
            warehouse = Path(folder)
            make_selections(warehouse, rows, buckets)
            table = warehouse / ARTWORK_SELECTIONS.name
            size = sum(file.stat().st_size for file in table.rglob("*.parquet"))
            pairs = some_pairs(rows, _WARM_UPS + arguments.lookups)
            sizes = (f"{rows:,}", f"{buckets:,}", f"{size / 2**20:,.0f}")
            for reader, lookup in lookups_of(warehouse, arguments.readers, spark).items():
                found = measure(lookup, pairs, table)
                shown.append([reader, *sizes, *found.cells()])
        print(f"\n{markdown(_COLUMNS, shown)}\n", flush=True)


if __name__ == "__main__":
    main()
