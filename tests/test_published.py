"""The choices published before a night, and whether a table would change."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession

from spark_jobs.publish import differ
from spark_jobs.published import may_reach
from tests.night_data import DAY, day


@pytest.mark.parametrize("partition_by", [["ds"], []], ids=["partitioned", "by statistics"])
def test_the_log_says_whether_a_table_may_reach_a_day(tmp_path: Path, partition_by: list[str]) -> None:
    days = pa.table({"ds": pa.array([day(-3), DAY], pa.date32()), "n": [1, 2]})
    write_deltalake(str(tmp_path), days.slice(0, 0), partition_by=partition_by)
    assert not may_reach(DeltaTable(tmp_path), date(2000, 1, 1))
    write_deltalake(str(tmp_path), days, mode="append")
    assert [may_reach(DeltaTable(tmp_path), day(offset)) for offset in (-4, 0, 1)] == [True, True, False]


def test_a_file_without_statistics_may_hold_any_day(tmp_path: Path) -> None:
    unknown = {"delta.dataSkippingNumIndexedCols": "0"}
    write_deltalake(str(tmp_path), pa.table({"ds": pa.array([DAY], pa.date32()), "n": [1]}), configuration=unknown)
    assert may_reach(DeltaTable(tmp_path), day(1))


def test_tables_differ_by_how_often_a_row_is_there(spark: SparkSession) -> None:
    def table(*rows: tuple[str | None, list[str] | None]) -> DataFrame:
        return spark.createDataFrame(list(rows), "name string, names array<string>")

    one, other, empty = ("a", ["x"]), ("b", None), (None, None)
    assert not differ(table(one, other, empty), table(empty, other, one))
    assert differ(table(one, one, other), table(one, other, other))
    assert differ(table(one), table())
    assert differ(table(), table(empty))
