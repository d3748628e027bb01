"""The contract is consistent, its page is up to date, and Python and Spark put a user in the same bucket."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pyspark.sql import SparkSession

from schemas import docs
from schemas.buckets import bucket_of
from schemas.contract import ContractError, Table, type_name
from schemas.exit_codes import REFUSED, exit_status
from schemas.settings import Settings
from schemas.tables import ARTWORK_SELECTIONS, ERASED_USERS, INPUTS, OWN, TABLES

ALL = list(TABLES.values())
NAMES = [table.name for table in ALL]


def test_every_table_is_listed_once() -> None:
    assert len(TABLES) == len((*INPUTS, *OWN, ERASED_USERS))


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_keys_and_partitions_are_columns(table: Table) -> None:
    assert {*table.key, *table.partitioned_by} <= set(table.column_names)
    assert len(set(table.column_names)) == len(table.columns)


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_keys_and_partitions_are_never_null(table: Table) -> None:
    nullable = {column.name for column in table.columns if column.nullable}
    assert not nullable & {*table.key, *table.partitioned_by}


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_references_point_at_keys(table: Table) -> None:
    for column, other in table.references.items():
        assert column in table.column_names
        assert TABLES[other].key == (column,)


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_rules_have_names_of_their_own(table: Table) -> None:
    names = [rule.name for rule in table.row_rules]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_statistics_cover_the_keys(table: Table) -> None:
    """Delta keeps statistics only of the first 32 columns."""
    assert len(table.columns) <= 32


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_arrow_and_spark_schemas_have_the_contracts_columns(table: Table) -> None:
    arrow = table.arrow_schema()
    assert isinstance(arrow, pa.Schema)
    assert tuple(arrow.names) == tuple(table.spark_schema().names) == table.column_names
    assert [field.nullable for field in arrow] == [column.nullable for column in table.columns]


@pytest.mark.parametrize("table", ALL, ids=NAMES)
def test_spark_understands_every_rule(table: Table, spark: SparkSession) -> None:
    rows = spark.createDataFrame([], table.spark_schema())
    for rule in table.row_rules:
        assert rows.where(rule.condition).count() == 0, rule.name


def test_types_are_written_as_people_write_them() -> None:
    types = {column.name: type_name(column.type) for column in ARTWORK_SELECTIONS.columns}
    assert types["user_id"] == "string"
    assert types["bucket"] == "int"
    assert types["ranking"].startswith("array<struct<artwork_id:string, ")


def test_the_page_of_tables_is_up_to_date() -> None:
    assert docs.PAGE.read_text() == docs.page(), "run `make docs`"


@given(st.text(), st.integers(1, 1000))
def test_a_bucket_is_one_of_the_buckets(user_id: str, buckets: int) -> None:
    assert 0 <= bucket_of(user_id, buckets) < buckets


def test_a_bucket_never_moves() -> None:
    """Readers in other languages compute it too: these are the CRC-32 of zlib and java.util.zip."""
    assert [bucket_of(user_id, 16) for user_id in ("42", "", "müller", "用户")] == [8, 0, 9, 13]


def test_spark_puts_a_user_in_the_same_bucket(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    from spark_jobs.warehouse import bucket

    users = ["42", "", "müller", "用户", "🦊", "a" * 300]
    rows = spark.createDataFrame([(user,) for user in users], "user_id string")
    found = {row[0]: row[1] for row in rows.select("user_id", bucket(F.col("user_id"), 16)).collect()}
    assert found == {user: bucket_of(user, 16) for user in users}


@pytest.mark.parametrize("name", ["warehouse", "model", "checkpoints"])
def test_a_folder_on_disk_is_an_absolute_path(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"MARQUEE_{name.upper()}", "here")
    assert getattr(Settings(), name) == str(tmp_path / "here")


def test_an_object_stores_uri_is_left_as_it_is() -> None:
    assert Settings(warehouse="s3://bucket/w").warehouse == "s3://bucket/w"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_HISTORY_TITLES", "12")
    assert Settings().history_titles == 12


def test_a_setting_out_of_range_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_EPSILON", "1.5")
    with pytest.raises(ValidationError, match=r"(?s)epsilon.*less than or equal to 1"):
        Settings()


def test_a_refusal_is_printed_after_its_command_and_sets_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise ContractError("titles: the table is empty")

    assert exit_status("validate", refuse) == REFUSED
    assert capsys.readouterr().err == "validate: titles: the table is empty\n"
    assert exit_status("validate", lambda: "any answer") == 0
    # Other errors may succeed on a retry.
    assert exit_status("validate", lambda: 1 / 0) == 1
