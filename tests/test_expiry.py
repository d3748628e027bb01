"""Choices that no night wants any longer, and what old nights left."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from schemas import store
from schemas.contract import ContractError, Table
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    NIGHT_STEPS,
    REMOVED,
    SCORING_RUNS,
    TASTE_GROUPS,
    TITLE_CHOICES,
    WANTED_PAIRS,
)
from spark_jobs.expiry import check_reach, expired, nights_of, remove_old_nights
from spark_jobs.published import as_of
from spark_jobs.warehouse import Warehouse
from tests.night_data import DAY, day


def test_a_choice_ends_when_no_night_of_the_last_days_has_wanted_it(spark: SparkSession) -> None:
    pairs = [("u1", "old"), ("u1", "recent"), ("u1", "last day"), ("u2", "old")]
    ds = DAY - timedelta(days=DAY.toordinal() % 7)
    wanted = [(-10, "old"), (-9, "recent"), (0, "last day")]

    def ended(bucket: int, on: date) -> set[tuple[str, str]]:
        standing = spark.createDataFrame(
            [(bucket, *pair) for pair in pairs], "bucket int, user_id string, title_id string"
        )
        rows = [(ds + timedelta(days=offset), bucket, "u1", [title_id]) for offset, title_id in wanted]
        schema = "ds date, bucket int, user_id string, title_ids array<string>"
        found = expired(standing, spark.createDataFrame(rows, schema), on, Settings(selection_days=10))
        return {(row["user_id"], row["title_id"]) for row in found.collect()}

    assert ended(0, ds) == ended(7, ds) == {("u1", "old"), ("u2", "old")}
    # Every bucket has its day of the week.
    assert [bucket for bucket in range(7) if ended(bucket, ds + timedelta(days=4))] == [4]


def row(table: Table, ds: date, **given: Any) -> dict[str, Any]:
    """A row of a table with some value in every column."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    texts: dict[str, Any] = {"string": "", "integer": 0, "long": 0, "double": 0.5, "date": ds, "timestamp": at}
    kinds = {column.name: column.type for column in table.columns}
    made = {name: texts[kind] if isinstance(kind, str) else [] for name, kind in kinds.items()}
    return made | {"ds": ds} | given


def write(warehouse: str, table: Table, rows: list[dict[str, Any]]) -> None:
    store.create(warehouse, table)
    schema = pa.schema([field.with_nullable(True) for field in table.arrow_schema()])
    write_deltalake(store.open_table(warehouse, table), pa.Table.from_pylist(rows, schema), mode="append")


@pytest.fixture
def old_nights(spark: SparkSession, tmp_path: Path) -> Warehouse:
    """Nights of 60 days, every fifth published; tables of each have a row a night."""
    config = Settings(warehouse=str(tmp_path), night_days=20, selection_days=10, history_days=13)
    nights = [day(-offset) for offset in range(60)]
    for table in (WANTED_PAIRS, TASTE_GROUPS, TITLE_CHOICES, SCORING_RUNS, ARTWORK_SCORES):
        write(config.warehouse, table, [row(table, ds) for ds in nights])
    steps = [row(NIGHT_STEPS, ds, step="publish") for ds in nights[::5]]
    write(config.warehouse, NIGHT_STEPS, steps)
    changes = [("a", -50), ("a", -30), ("b", -45), ("gone", -40), ("gone", -35), ("a", -20), ("b", -5)]
    log = [
        row(ARTWORK_SELECTION_LOG, day(offset), user_id=user, source=REMOVED if offset == -35 else "model")
        for user, offset in changes
    ]
    write(config.warehouse, ARTWORK_SELECTION_LOG, log)
    return Warehouse(spark, config)


def test_maintenance_removes_what_no_night_within_reach_reads(
    old_nights: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    place, reach = old_nights.settings.warehouse, [day(-offset) for offset in range(21)]

    def stood() -> list[Any]:
        log = old_nights.read(ARTWORK_SELECTION_LOG)
        return [sorted(as_of(log, ds).select("user_id", "ds").collect()) for ds in reach]

    before = stood()
    remove_old_nights(old_nights)
    assert stood() == before
    kept = {table.name: min(nights_of(place, table)) for table in (WANTED_PAIRS, TASTE_GROUPS, TITLE_CHOICES)}
    # The published night before the first within reach, and no row of the runs of removed scores.
    assert kept == {"wanted_pairs": day(-36), "taste_groups": day(-40), "title_choices": day(-25)}
    assert {min(nights_of(place, table)) for table in (SCORING_RUNS, ARTWORK_SCORES)} == {day(-20)}
    log = old_nights.read(ARTWORK_SELECTION_LOG).select("user_id", "ds").collect()
    assert sorted(map(tuple, log)) == [("a", day(-30)), ("a", day(-20)), ("b", day(-45)), ("b", day(-5))]
    assert len(store.rows("SELECT * FROM t", t=store.open_table(place, NIGHT_STEPS))) == 12
    check_reach(place, day(-20))
    with pytest.raises(ContractError, match=f"the night of {day(-21)} cannot be run again or undone"):
        check_reach(place, day(-21))

    capsys.readouterr()
    versions = [store.open_table(place, table).version() for table in (ARTWORK_SELECTION_LOG, WANTED_PAIRS)]
    remove_old_nights(old_nights)
    assert capsys.readouterr().out == ""
    assert [store.open_table(place, table).version() for table in (ARTWORK_SELECTION_LOG, WANTED_PAIRS)] == versions


def test_without_nights_nothing_is_removed_and_any_night_may_begin(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = Warehouse(spark, Settings(warehouse=str(tmp_path)))
    remove_old_nights(warehouse)
    check_reach(str(tmp_path), DAY)
