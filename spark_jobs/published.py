"""What had been published before a night, however often and in whatever order nights are run."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import ARTWORK_SELECTION_LOG, ARTWORK_SELECTIONS

REMOVED = "removed"


def as_of(log: DataFrame, ds: date) -> DataFrame:
    """The choices that stood before the night `ds`, rebuilt from the log: each pair's latest row, less removed ones."""
    columns = ARTWORK_SELECTIONS.column_names
    latest = (
        log.where(F.col("ds") < F.lit(ds))
        .groupBy("user_id", "title_id")
        .agg(F.max_by(F.struct(*columns), "ds").alias("row"))
    )
    return latest.select("row.*").where(F.col("source") != REMOVED)


def published_before(selections: DataFrame, log: DataFrame, ds: date) -> DataFrame:
    """The choices that stood before the night `ds`.

    On a first run of the newest night that is `artwork_selections` itself. Where this night or a later one has changed
    that (a rerun, or a backfill), they are rebuilt from the log, so that a rerun sees what the first run saw.
    """
    since = F.col("ds") >= F.lit(ds)
    # A pair that was removed has no row to tell by, but in the log.
    if selections.where(since).isEmpty() and log.where(since & (F.col("source") == REMOVED)).isEmpty():
        return selections.select(*ARTWORK_SELECTIONS.column_names)
    return as_of(log.select(*ARTWORK_SELECTION_LOG.column_names), ds)
