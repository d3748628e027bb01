"""Expiry: choices that no night wants any longer end, and rows that no rerun reads are removed.

A night that is run again reads, beside its own inputs, the choices that stood before it (from the log), the pairs that
the nights before it wanted (to know which choices end), and the titles' texts of the published night before it. What
nights of the last `night_days` need of these stays.
"""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas import store
from schemas.contract import ContractError, Table
from schemas.events import report
from schemas.settings import Settings
from schemas.store import has_table, open_table
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    HELD_OUT_CHOICES,
    HELD_OUT_CONTEXTS,
    HELD_OUT_RUNS,
    HELD_OUT_SCORES,
    LOG_SINCE_PROPERTY,
    NIGHT_CHANGES,
    NIGHT_STEPS,
    POST_TRAINING_EXAMPLES,
    PREFERENCE_PAIRS,
    REJECTED_ROWS,
    SCORING_RUNS,
    TASTE_GROUPS,
    TEACHER_REASONS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    WANTED_PAIRS,
)
from spark_jobs.merging import KEY
from spark_jobs.published import as_of
from spark_jobs.warehouse import Night, Warehouse

_WEEK = 7

# The row of a run says that the bucket's scores are whole, so it goes before them.
_OF_ONE_DAY = (
    REJECTED_ROWS,
    NIGHT_CHANGES,
    USER_CONTEXTS,
    SCORING_RUNS,
    ARTWORK_SCORES,
    POST_TRAINING_EXAMPLES,
    PREFERENCE_PAIRS,
    TEACHER_REASONS,
    HELD_OUT_CONTEXTS,
    HELD_OUT_CHOICES,
    HELD_OUT_RUNS,
    HELD_OUT_SCORES,
)
"""Tables of which only the steps of the same day read the rows of a day."""


def may_expire(night: Night) -> bool:
    """Whether `wanted_pairs` goes back over `selection_days`: whether it has a night of the week before these. By the
    table's log alone.
    """
    since = night.ds - timedelta(days=night.settings.selection_days)
    days = [("ds", "<=", str(since)), ("ds", ">", str(since - timedelta(days=_WEEK)))]
    return bool(open_table(night.settings.warehouse, WANTED_PAIRS).file_uris(file_pruning_predicate=days))


def expired(standing: DataFrame, wanted: DataFrame, ds: date, settings: Settings) -> DataFrame:
    """The choices of `standing` that end tonight: no night of the last `selection_days` has wanted the pair.

    Which pairs these nights wanted takes reading them all, so a night looks through a seventh of the buckets.
    """
    turn = F.col("bucket") % _WEEK == ds.toordinal() % _WEEK
    since = ds - timedelta(days=settings.selection_days)
    recent = wanted.where(turn & (F.col("ds") > F.lit(since)) & (F.col("ds") <= F.lit(ds)))
    pairs = recent.select("user_id", F.explode("title_ids").alias("title_id"))
    return standing.where(turn).join(pairs, KEY, how="left_anti")


def nights_of(warehouse: str, table: Table) -> set[date]:
    """The days of which a table partitioned by ds has rows."""
    # One row for each file; without a file it has no column.
    files = pa.table(open_table(warehouse, table).get_add_actions(flatten=True))
    return set(files["partition.ds"].unique().to_pylist()) if files.num_rows else set()


def check_reach(warehouse: str, ds: date) -> None:
    """Raise ContractError if maintenance has removed the log rows from which the choices before `ds` are rebuilt."""
    if not has_table(warehouse, ARTWORK_SELECTION_LOG):
        return
    since = open_table(warehouse, ARTWORK_SELECTION_LOG).metadata().configuration.get(LOG_SINCE_PROPERTY)
    if since and ds < date.fromisoformat(since):
        raise ContractError(
            f"{ARTWORK_SELECTION_LOG.name}: the night of {ds} cannot be run again or undone, because the choices "
            f"that stood before it can be rebuilt only from {since} on (MARQUEE_NIGHT_DAYS, which maintenance applies)"
        )


def remove_old_nights(warehouse: Warehouse) -> None:
    """Remove what nights of the last `night_days` up to the newest published one do not read."""
    place, settings = warehouse.settings.warehouse, warehouse.settings
    published = [row["ds"] for row in store.rows_where(place, NIGHT_STEPS, "step = 'publish'")]
    if not published:
        return
    first = max(published) - timedelta(days=settings.night_days)
    _condense_log(warehouse, first)
    before = max((ds for ds in published if ds < first), default=first)
    oldest = {
        TITLE_CHOICES: before,
        # `may_expire` looks for the nights of a week.
        WANTED_PAIRS: first - timedelta(days=settings.selection_days + _WEEK - 1),
        # Groups hold from a Sunday on, and examples go back as far as histories.
        TASTE_GROUPS: first - timedelta(days=settings.history_days + _WEEK),
    }
    for table in (*_OF_ONE_DAY, *oldest):
        kept = oldest.get(table, first)
        if has_table(place, table) and any(ds < kept for ds in nights_of(place, table)):
            store.delete(place, table, f"ds < DATE '{kept}'")
            report("maintain", f"{table.name}: nights before {kept} removed")


def _condense_log(warehouse: Warehouse, first: date) -> None:
    """Keep of each pair's rows in the log before `first` only the one that stood then."""
    place = warehouse.settings.warehouse
    log = warehouse.read(ARTWORK_SELECTION_LOG)
    old = log.where(F.col("ds") < F.lit(first)).select("ds", *KEY)
    replaced = old.join(as_of(log, first).select("ds", *KEY), ["ds", *KEY], how="left_anti").persist()
    if replaced.isEmpty():
        return
    # First: an earlier night that is begun from here on is refused.
    open_table(place, ARTWORK_SELECTION_LOG).alter.set_table_properties(
        {LOG_SINCE_PROPERTY: str(first)}, raise_if_not_exists=False
    )
    same = " AND ".join(f"t.{name} = s.{name}" for name in ("ds", *KEY))
    warehouse.delta(ARTWORK_SELECTION_LOG).alias("t").merge(replaced.alias("s"), same).whenMatchedDelete().execute()
    report("maintain", f"{ARTWORK_SELECTION_LOG.name}: choices replaced before {first} removed")
