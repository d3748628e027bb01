"""Rows that obey the contract, and rows that do not."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType

from schemas.contract import ContractError, Table, array
from schemas.settings import Settings
from schemas.tables import ARTWORKS, IMPRESSIONS, INPUTS, TITLE_CANDIDATES, TITLES, VIEWING_HISTORY
from spark_jobs.inputs import check_columns, night_rows, rejected, with_broken_rule
from tests.night_data import DAY, artwork, nullable, title, viewing


def impression(**changes: Any) -> tuple[Any, ...]:
    row = {
        "ds": DAY,
        "user_id": "u",
        "title_id": "t",
        "artwork_id": "a",
        "eligible_artwork_ids": ["a", "b"],
        "propensity": 0.5,
        "shown_at": datetime(2026, 1, 10, 20),
        "played": True,
        "play_seconds": 60.0,
    }
    return tuple({**row, **changes}.values())


def rules(spark: SparkSession, table: Table, rows: list[tuple[Any, ...]], known: str = "t") -> list[str | None]:
    """The rule that each of `rows` breaks, or None."""
    frame = spark.createDataFrame(
        [(*row, place) for place, row in enumerate(rows)], nullable(table).add("place", IntegerType())
    )
    referred = {"title_id": spark.createDataFrame([(known,)], "title_id string")} if table.references else {}
    return [row["rule"] for row in with_broken_rule(table, frame, referred, DAY).orderBy("place").collect()]


@pytest.mark.parametrize(
    ("table", "row", "rule"),
    [
        (VIEWING_HISTORY, viewing("u", "t"), None),
        (VIEWING_HISTORY, viewing("u", "t", completion=7.0), "completion_out_of_range"),
        (VIEWING_HISTORY, viewing("u", "t", completion=float("nan")), "completion_out_of_range"),
        (VIEWING_HISTORY, viewing("u", "t", completion=None), "completion_missing"),
        (VIEWING_HISTORY, (None, "t", datetime(2026, 1, 10), 0.5, DAY), "user_id_missing"),
        (VIEWING_HISTORY, viewing(" ", "t"), "user_id_blank"),
        (VIEWING_HISTORY, ("u", "t", datetime(2031, 1, 10), 0.5, DAY), "watched_at_not_on_watch_date"),
        (TITLES, title("t", " "), "name_blank"),
        (TITLES, title("t", genres=[]), None),
        (TITLES, ("t", "n", 1999, ["Drama", None], None), "genres_has_null"),
        (ARTWORKS, (*artwork("a", "t")[:3], [None], *artwork("a", "t")[4:]), "themes_has_null"),
        (ARTWORKS, (*artwork("a", "t")[:3], None, *artwork("a", "t")[4:]), None),
        (TITLES, title("t", "שלום 🐕"), None),
        (ARTWORKS, artwork("a", "t"), None),
        (ARTWORKS, artwork("a", "t", "  "), "caption_blank"),
        (ARTWORKS, artwork("a", "t", "\t\n\u200b\u2028"), "caption_blank"),
        (ARTWORKS, artwork("a", "t", "."), None),
        (ARTWORKS, artwork("a", "gone"), "unknown_title_id"),
        (TITLE_CANDIDATES, (DAY, "u", "t", 0), "rank_not_positive"),
        (IMPRESSIONS, impression(), None),
        (IMPRESSIONS, impression(propensity=0.0), "propensity_out_of_range"),
        (IMPRESSIONS, impression(propensity=1.5), "propensity_out_of_range"),
        (IMPRESSIONS, impression(eligible_artwork_ids=["b"]), "shown_artwork_not_eligible"),
        (IMPRESSIONS, impression(ds=date(2026, 1, 9)), "shown_at_not_on_ds"),
        (IMPRESSIONS, impression(eligible_artwork_ids=["a", None]), "eligible_artwork_ids_has_null"),
        (IMPRESSIONS, impression(eligible_artwork_ids=None), "eligible_artwork_ids_missing"),
        (IMPRESSIONS, impression(eligible_artwork_ids=[]), "shown_artwork_not_eligible"),
        (IMPRESSIONS, impression(propensity=float("nan")), "propensity_out_of_range"),
        (IMPRESSIONS, impression(play_seconds=float("nan")), "play_seconds_out_of_range"),
        (IMPRESSIONS, impression(play_seconds=float("inf")), "play_seconds_out_of_range"),
        (IMPRESSIONS, impression(play_seconds=-1.0), "play_seconds_out_of_range"),
        (IMPRESSIONS, impression(user_id="\u200b"), "user_id_blank"),
    ],
)
def test_a_bad_row_has_the_rule_it_breaks(
    spark: SparkSession, table: Table, row: tuple[Any, ...], rule: str | None
) -> None:
    assert rules(spark, table, [row]) == [rule]


NO_TEXT = "cast(X'E96D696C65' as string)"
"""Latin-1, as from a careless export."""


@pytest.mark.parametrize("table", INPUTS, ids=lambda table: table.name)
def test_text_that_is_not_utf8_is_rejected_wherever_it_stands(spark: SparkSession, table: Table) -> None:
    """Spark accepts such bytes as a string; Arrow, which the scorer and every lookup use, refuses them."""
    good = {
        VIEWING_HISTORY.name: viewing("u", "t"),
        TITLES.name: title("t", synopsis="s"),
        ARTWORKS.name: (*artwork("a", "t")[:4], "uri", *artwork("a", "t")[5:]),
        TITLE_CANDIDATES.name: (DAY, "u", "t", 1),
        IMPRESSIONS.name: impression(),
    }[table.name]
    frame = spark.createDataFrame([good], nullable(table))
    referred = {"title_id": spark.createDataFrame([("t",)], "title_id string")} if table.references else {}
    spoiled = {column.name: F.expr(NO_TEXT) for column in table.columns if column.type == "string"}
    spoiled |= {
        column.name: F.array(F.lit("a"), F.expr(NO_TEXT)) for column in table.columns if column.type == array("string")
    }
    assert spoiled
    assert with_broken_rule(table, frame, referred, DAY).collect()[0]["rule"] is None
    for name, value in spoiled.items():
        bad = with_broken_rule(table, frame.withColumn(name, value), referred, DAY)
        assert bad.collect()[0]["rule"] == "not_utf8", name
        # Every reader can read the rejected row itself.
        kept = rejected(table, bad, DAY, "validate").select("row", F.expr("is_valid_utf8(row)").alias("valid"))
        row = kept.collect()[0]
        assert row["valid"]
        assert "\ufffdmile" in str(json.loads(row["row"])[name])


def test_inputs_hold_no_other_containers_than_arrays_of_text() -> None:
    """The rules about nulls and UTF-8 only check these."""
    kinds = {str(column.type) for table in INPUTS for column in table.columns if not isinstance(column.type, str)}
    assert kinds == {str(array("string"))}


@pytest.mark.parametrize(
    ("table", "row", "rule"),
    [
        (VIEWING_HISTORY, (*viewing("u", "t")[:4], None), "watch_date_missing"),
        (IMPRESSIONS, impression(ds=None), "ds_missing"),
        (TITLE_CANDIDATES, (None, "u", "t", 1), "ds_missing"),
    ],
)
def test_a_row_without_a_date_is_rejected_every_night(
    spark: SparkSession, table: Table, row: tuple[Any, ...], rule: str
) -> None:
    """It is in no night's partition, and no row may vanish."""
    kept = night_rows(table, spark.createDataFrame([row], nullable(table)), DAY, Settings())
    referred = {"title_id": spark.createDataFrame([("t",)], "title_id string")} if table.references else {}
    assert [found["rule"] for found in with_broken_rule(table, kept, referred, DAY).collect()] == [rule]


def test_nulls_too_decide_which_of_two_rows_with_one_key_stays(spark: SparkSession) -> None:
    """Their hashes are equal, because a hash ignores nulls."""
    rows = [("t", "n", None, ["x"], None), ("t", "n", None, None, "x")]
    stayed = []
    for arranged in (rows, rows[::-1]):
        frame = spark.createDataFrame(arranged, nullable(TITLES)).coalesce(1)
        stayed.append(with_broken_rule(TITLES, frame, {}, DAY).where("rule is null").collect())
    assert stayed[0] == stayed[1]


def test_of_rows_with_one_key_one_stays(spark: SparkSession) -> None:
    found = rules(spark, TITLES, [title("t", "one name"), title("t", "another name"), title("t2")])
    assert sorted(map(str, found[:2])) == ["None", "duplicate_key"]
    assert found[2] is None


def test_a_bad_row_does_not_push_out_a_good_one_with_its_key(spark: SparkSession) -> None:
    assert rules(spark, ARTWORKS, [artwork("a", "t", " "), artwork("a", "t", "a dog")]) == ["caption_blank", None]


def test_the_forty_first_active_artwork_is_too_many_and_the_default_stays(spark: SparkSession) -> None:
    ended = artwork("a00", "t", active_to=date(2025, 1, 1))
    rows = [ended, *(artwork(f"a{i:02}", "t", is_default=i == 41) for i in range(1, 42))]
    found = rules(spark, ARTWORKS, rows)
    assert found.count("too_many_artworks") == 1
    assert (found[0], found[40], found[41]) == (None, "too_many_artworks", None)


def test_columns_are_checked_all_at_once(spark: SparkSession) -> None:
    frame = spark.createDataFrame([], nullable(VIEWING_HISTORY)).drop("user_id")
    with pytest.raises(ContractError) as error:
        check_columns(VIEWING_HISTORY, frame.withColumn("completion", F.lit("0.5")))
    assert str(error.value) == (
        "viewing_history: column user_id is missing, the contract says string; column completion is string, the "
        "contract says double (schemas/tables.py)"
    )


def test_extra_columns_are_ignored(spark: SparkSession) -> None:
    check_columns(TITLES, spark.createDataFrame([], nullable(TITLES)).withColumn("studio", F.lit("x")))


def test_a_rejected_row_is_kept_whole(spark: SparkSession) -> None:
    frame = spark.createDataFrame([viewing("u", "t", completion=7.0)], nullable(VIEWING_HISTORY))
    row = rejected(VIEWING_HISTORY, with_broken_rule(VIEWING_HISTORY, frame, {}, DAY), DAY, "validate").collect()[0]
    assert (row["source_table"], row["rule"]) == ("viewing_history", "completion_out_of_range")
    assert json.loads(row["row"])["completion"] == 7.0
