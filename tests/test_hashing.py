"""Hashes of content distinguish values that Spark's own hash does not, such as nulls."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_jobs.hashing import list_hash, row_hash

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=4)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lists=st.lists(st.one_of(st.none(), TEXTS), min_size=2, max_size=40))
def test_two_lists_have_one_hash_only_if_they_are_equal(
    lists: list[list[str | None] | None], spark: SparkSession
) -> None:
    always = [None, [], [None], [None, None], ["a"], ["a", None], [None, "a"], ["a", "b"], ["b", "a"], ["ab"], [""]]
    rows = spark.createDataFrame([(each,) for each in always + lists], "texts array<string>")
    found = rows.select("texts", list_hash(F.col("texts")).alias("hash")).collect()
    different = {repr(row["texts"]) for row in found}
    assert len({row["hash"] for row in found}) == len(different)


def test_a_list_without_nulls_keeps_the_hash_that_it_always_had(spark: SparkSession) -> None:
    """It is part of stored names and prompt hashes: if it changed, every pair would be scored again."""
    rows = spark.createDataFrame([(["a", "b"],), (["ä"],), ([],)], "texts array<string>")
    for row in rows.select(list_hash(F.col("texts")).alias("ours"), F.xxhash64("texts").alias("theirs")).collect():
        assert row["ours"] == row["theirs"]


def test_rows_differ_where_a_null_stands_in_another_column(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("x", None), (None, "x"), (None, None), ("x", "x")], "a string, b string")
    assert rows.select(row_hash("a", "b")).distinct().count() == 4
