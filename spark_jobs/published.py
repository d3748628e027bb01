"""What was published before a night, however often and in whatever order nights are run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.contract import Table
from schemas.store import open_table, rows
from schemas.tables import ARTWORK_SELECTION_LOG, ARTWORK_SELECTIONS, NIGHT_STEPS, REMOVED, UNDONE
from spark_jobs.noted import Noted
from spark_jobs.warehouse import Night


def as_of(log: DataFrame, ds: date) -> DataFrame:
    """The choices that stood before the night `ds`, rebuilt from the log: each pair's latest row that was
    not undone, unless it removed the pair.
    """
    columns = ARTWORK_SELECTIONS.column_names
    latest = (
        log.where((F.col("ds") < F.lit(ds)) & (F.col("source") != UNDONE))
        .groupBy("user_id", "title_id")
        .agg(F.max_by(F.struct(*columns), "ds").alias("row"))
    )
    return latest.select("row.*").where(F.col("source") != REMOVED)


def published_before(night: Night, noted: Mapping[str, Noted]) -> DataFrame:
    """The choices that stood before the night, from the noted versions of `artwork_selections` and its log.

    On a first run of the newest night they are `artwork_selections` itself. If this night or a later one has changed it
    (a rerun, or a backfill), they are rebuilt from the log, so that a rerun sees what the first run saw.
    """

    def read(table: Table) -> DataFrame:
        rows = night.warehouse.read_as_noted(table, noted[table.name], night.ds)
        return night.warehouse.without_erased(rows.select(*table.column_names))

    def is_empty(table: Table, rows: DataFrame) -> bool:
        opened = open_table(night.settings.warehouse, table, noted[table.name].version)
        return not may_reach(opened, night.ds) or rows.isEmpty()

    selections, log = read(ARTWORK_SELECTIONS), read(ARTWORK_SELECTION_LOG)
    since = F.col("ds") >= F.lit(night.ds)
    # A removed pair has a row only in the log.
    if is_empty(ARTWORK_SELECTIONS, selections.where(since)) and is_empty(
        ARTWORK_SELECTION_LOG, log.where(since & (F.col("source") == REMOVED))
    ):
        return selections
    return as_of(log, night.ds)


def may_reach(table: DeltaTable, ds: date) -> bool:
    """Whether the table may have rows of `ds` or later, by the file statistics in its log. Spark would run jobs to
    read the same log.
    """
    files = pa.table(table.get_add_actions(flatten=True))
    known = [name for name in ("partition.ds", "max.ds") if name in files.column_names]
    newest = files[known[0]].to_pylist() if known else [None] * files.num_rows
    return any(day is None or day >= ds for day in newest)


def published_nights(night: Night, than: str) -> list[date]:
    """The nights that have been published, of those whose ds is `than` this night's: `<` or `>`; the earliest first."""
    steps = open_table(night.settings.warehouse, NIGHT_STEPS)
    published = f"SELECT DISTINCT ds FROM steps WHERE step = 'publish' AND ds {than} DATE '{night.ds}' ORDER BY ds"
    return [row["ds"] for row in rows(published, steps=steps)]
