"""Whole nights on a small warehouse, checked by their tables. The tests make the scores."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.contract import ContractError
from schemas.erased import register, remove
from schemas.purge import purge
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    MADE,
    NIGHT_STEPS,
    REJECTED_ROWS,
    SERVED,
    TITLE_CANDIDATES,
    TITLE_DEFAULTS,
    USER_CONTEXTS,
    VIEWING_HISTORY,
    WANTED_PAIRS,
)
from spark_jobs.audit import audit
from spark_jobs.candidates import candidates
from spark_jobs.contexts import contexts
from spark_jobs.factors import numbered
from spark_jobs.publish import publish
from spark_jobs.validate import validate
from tests.night_data import DAY, SmallWarehouse, artwork, day, small_warehouse, viewing

# Seconds differ between runs.
COMPARED = [table for table in (*MADE, *SERVED) if table not in (NIGHT_STEPS,)]


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallWarehouse:
    return small_warehouse(spark, tmp_path)


@pytest.fixture(scope="module")
def first_night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallWarehouse:
    """The default inputs after the night of DAY, for tests to copy."""
    small = small_warehouse(spark, tmp_path_factory.mktemp("first"))
    small.write_inputs()
    small.run()
    return small


@pytest.fixture
def next_night(first_night: SmallWarehouse, tmp_path: Path) -> SmallWarehouse:
    """A copy of `first_night`."""
    return first_night.copied(tmp_path)


def snapshot(small: SmallWarehouse) -> dict[str, list[Any]]:
    skipped = {"night_inputs"}  # Versions move when a rerun writes the same rows again.
    return {table.name: small.rows(table) for table in COMPARED if table.name not in skipped}


def selections(small: SmallWarehouse) -> dict[tuple[str, str], Any]:
    return {(row["user_id"], row["title_id"]): row for row in small.rows(ARTWORK_SELECTIONS)}


def scored_pairs(small: SmallWarehouse, offset: int = 0) -> set[tuple[str, str]]:
    rows = small.night(day(offset)).tonight(USER_CONTEXTS).collect()
    return {(row["user_id"], pair["title_id"]) for row in rows for pair in row["pairs"]}


def steps(small: SmallWarehouse, step: str, offset: int = 0) -> dict[str, int]:
    row = small.night(day(offset)).tonight(NIGHT_STEPS).where(F.col("step") == step).collect()[0]
    return dict(row["counts"])


ALL_PAIRS = {(user, title) for user in ("u1", "u2", "u3") for title in ("t1", "t2", "t3")}
WITH_A_CHOICE = {pair for pair in ALL_PAIRS if pair[1] != "t3"}


def test_a_night_publishes_every_wanted_pair_and_a_second_run_changes_nothing(next_night: SmallWarehouse) -> None:
    small = next_night
    assert scored_pairs(small) == WITH_A_CHOICE
    found = selections(small)
    assert set(found) == ALL_PAIRS
    assert {row["source"] for pair, row in found.items() if pair in WITH_A_CHOICE} == {"model"}
    assert {
        (row["artwork_id"], row["source"], row["propensity"]) for pair, row in found.items() if pair[1] == "t3"
    } == {("a31", "only_choice", 1.0)}
    for row in found.values():
        assert sum(option["propensity"] for option in row["ranking"]) == pytest.approx(1)
        assert {o["artwork_id"]: o["propensity"] for o in row["ranking"]}[row["artwork_id"]] == row["propensity"]
    assert {row["title_id"]: row["artwork_id"] for row in small.rows(TITLE_DEFAULTS)}["t1"] == "a11"

    before = snapshot(small)
    version = small.warehouse.version(ARTWORK_SELECTIONS)
    small.run()
    assert snapshot(small) == before
    assert small.warehouse.version(ARTWORK_SELECTIONS) == version
    assert steps(small, "publish") == {"inserted": 0, "updated": 0, "deleted": 0, "unchanged": 9}


def test_a_choice_that_no_night_wants_ends_with_the_change_feed_saying_so(next_night: SmallWarehouse) -> None:
    small = next_night
    # All users are in bucket 0, which is looked through on a Sunday.
    sunday = day(1)
    small.settings = small.settings.model_copy(update={"selection_days": 1})
    small.history += [viewing("u1", "t3", sunday)]
    small.wanted = [(DAY, "u1", "t1", 1), (sunday, "u1", "t1", 1), (sunday, "u2", "t2", 1)]
    small.write_inputs()
    version = small.warehouse.version(ARTWORK_SELECTIONS)
    small.run(sunday)
    assert set(selections(small)) == {("u1", "t1"), ("u2", "t2")}
    feed = DeltaTable(small.warehouse.path(ARTWORK_SELECTIONS)).load_cdf(starting_version=version + 1)
    deleted = [each for each in pa.table(feed.read_all()).to_pylist() if each["_change_type"] == "delete"]
    ended = ALL_PAIRS - set(selections(small))
    assert {(each["user_id"], each["title_id"]) for each in deleted} == ended
    logged = [row for row in small.rows(ARTWORK_SELECTION_LOG) if row["source"] == "removed"]
    assert {(row["user_id"], row["title_id"], row["ds"]) for row in logged} == {(*pair, sunday) for pair in ended}
    before = snapshot(small)
    small.finish(sunday)
    assert snapshot(small) == before

    # Deletion vectors hide the ended choices in files that hold others, too.
    place, folder = small.settings.warehouse, Path(small.warehouse.path(ARTWORK_SELECTIONS))
    erased = register(place, ["u1", "u3"])
    assert dict(remove(place, erased))[ARTWORK_SELECTIONS] == 1
    purge(place, ARTWORK_SELECTIONS, {"u1", "u3"}, erased.buckets, datetime.now(UTC))
    assert set(selections(small)) == {("u2", "t2")}
    assert {user for file in folder.rglob("*.parquet") for user in pq.read_table(file)["user_id"].to_pylist()} == {"u2"}


def test_an_erased_user_stays_gone_when_a_night_is_run_again(next_night: SmallWarehouse) -> None:
    """The night began before the user was erased: its later steps read the inputs and choices of then."""
    small = next_night

    def of_others() -> dict[str, list[Any]]:
        about_users = {name: rows for name, rows in snapshot(small).items() if rows and "user_id" in rows[0]}
        return {name: [row for row in rows if row["user_id"] != "u1"] for name, rows in about_users.items()}

    before, warehouse = of_others(), small.settings.warehouse
    assert {"artwork_selections", "artwork_selection_log", "artwork_scores", "wanted_pairs"} <= set(before)
    list(remove(warehouse, register(warehouse, ["u1"])))
    for step in (candidates, contexts):
        step(small.night())
    small.score()
    small.finish()
    assert "u1" not in str(snapshot(small))
    assert of_others() == before
    small.run()
    assert "u1" not in str(snapshot(small))
    assert of_others() == before
    counts = steps(small, "validate")
    assert (counts["rows_viewing_history"], counts["erased_viewing_history"]) == (8, 4)
    assert (counts["rows_title_candidates"], counts["erased_title_candidates"]) == (6, 3)
    assert sum(counts[name] for name in counts if name.startswith("rejected_")) == 0


def test_a_night_scores_only_changed_pairs_and_a_backfill_leaves_newer_choices(next_night: SmallWarehouse) -> None:
    small = next_night
    first = snapshot(small)
    small.history += [viewing("u1", "t3", day(1)), viewing("u2", "t2", day(2))]
    small.write(VIEWING_HISTORY, small.history)
    small.run(day(1), favourite="a12")
    assert scored_pairs(small, 1) == {("u1", "t1"), ("u1", "t2")}
    assert {pair for pair, row in selections(small).items() if row["ds"] == day(1)} == scored_pairs(small, 1)
    assert {
        (r["user_id"], r["title_id"]) for r in small.rows(ARTWORK_SELECTION_LOG) if r["ds"] == day(1)
    } == scored_pairs(small, 1)

    newest = selections(small)
    small.run(DAY)
    assert selections(small) == newest
    assert [row for row in small.rows(ARTWORK_SELECTION_LOG) if row["ds"] == DAY] == [
        row for row in first["artwork_selection_log"] if row["ds"] == DAY
    ]
    assert scored_pairs(small) == WITH_A_CHOICE


def test_a_choice_whose_artwork_ends_is_replaced_or_removed_even_if_unwanted(small: SmallWarehouse) -> None:
    small.wanted = [(DAY, "u1", "t1", 1), (DAY, "u1", "t3", 2), (day(1), "u2", "t2", 1)]
    small.history += [viewing("u3", "t3", day(1))]
    small.artworks = [artwork("a11", "t1"), artwork("a12", "t1", active_to=DAY), artwork("a13", "t1", active_to=DAY)]
    small.artworks += [artwork("a21", "t2"), artwork("a22", "t2"), artwork("a31", "t3", active_to=DAY)]
    small.write_inputs()
    small.run(DAY, favourite="a12")
    small.run(day(1))
    found = selections(small)
    assert set(found) == {("u1", "t1"), ("u2", "t2")}
    replaced = found["u1", "t1"]
    assert (replaced["artwork_id"], replaced["propensity"], replaced["ds"]) == ("a11", 1.0, day(1))
    removed = [row for row in small.rows(ARTWORK_SELECTION_LOG) if row["source"] == "removed"]
    assert [(row["user_id"], row["title_id"], row["ds"], row["artwork_id"]) for row in removed] == [
        ("u1", "t3", day(1), None)
    ]

    # A backfill of the day on which it was still active does not bring it back.
    small.run(DAY, favourite="a12")
    assert selections(small) == found


def test_a_night_removes_a_user_whose_id_is_not_utf8(next_night: SmallWarehouse) -> None:
    """An earlier version of Marquee published such rows, and no Arrow reader can read them."""
    small = next_night
    published = small.warehouse.read(ARTWORK_SELECTIONS)
    of_user = published.where("user_id = 'u1'").withColumn("user_id", F.expr("cast(X'E96D696C65' as string)"))
    of_user.localCheckpoint().write.format("delta").mode("append").save(small.warehouse.path(ARTWORK_SELECTIONS))
    small.history += [viewing("u1", "t3", day(1))]
    small.write(VIEWING_HISTORY, small.history)
    small.run(day(1))
    assert set(selections(small)) == ALL_PAIRS
    assert steps(small, "publish", 1)["deleted"] == 3
    assert small.warehouse.read(ARTWORK_SELECTIONS).toArrow().num_rows == 9


def test_a_second_run_of_a_night_that_only_removed_logs_the_removal_again(spark: SparkSession, tmp_path: Path) -> None:
    """`artwork_selections` has no trace of the first run; without a row in the log the pair would come back."""
    # Without exploration, the end of an epoch draws the same artwork.
    small = small_warehouse(spark, tmp_path, epsilon=0.0)
    small.wanted = [(DAY, "u1", "t1", 1), (DAY, "u1", "t3", 2), (day(1), "u1", "t1", 1)]
    small.artworks = [a for a in small.artworks if a[0] != "a31"] + [artwork("a31", "t3", active_to=DAY)]
    small.history += [viewing("somebody else", "t1", day(1))]
    small.write_inputs()
    small.run()
    small.run(day(1))
    assert {pair: row["ds"] for pair, row in selections(small).items()} == {("u1", "t1"): DAY}
    logged = small.rows(ARTWORK_SELECTION_LOG)
    assert [(row["title_id"], row["source"]) for row in logged if row["ds"] == day(1)] == [("t3", "removed")]
    small.run(day(1))
    assert small.rows(ARTWORK_SELECTION_LOG) == logged


def test_a_backfill_serves_no_artwork_that_has_ended_since(small: SmallWarehouse) -> None:
    small.wanted = [(DAY, "u1", "t1", 1), (DAY, "u1", "t2", 2), (day(1), "u2", "t2", 1)]
    small.history += [viewing("u3", "t3", day(1))]
    small.artworks = [
        artwork("a11", "t1", active_to=DAY),
        artwork("a12", "t1", active_to=DAY),
        artwork("a13", "t1"),
        artwork("a21", "t2"),
        artwork("a22", "t2"),
    ]
    small.settings = small.settings.model_copy(update={"epsilon": 0.0})
    small.write_inputs()
    small.run(day(1))
    small.run(DAY, favourite="a11")
    # The night chose the artwork that was active then; serving sees only artworks that may be shown now.
    logged = {(r["user_id"], r["title_id"]): r["artwork_id"] for r in small.rows(ARTWORK_SELECTION_LOG)}
    assert logged["u1", "t1"] == "a11"
    assert set(selections(small)) == {("u1", "t2"), ("u2", "t2")}


def test_the_end_of_an_epoch_draws_again_without_scoring(spark: SparkSession, tmp_path: Path) -> None:
    # The second night wants one pair: a change that is meant.
    small = small_warehouse(spark, tmp_path, epoch_days=1, epsilon=1.0, change_limit=1.0)
    small.history = [viewing(f"u{i}", "t1") for i in range(40)] + [viewing("other", "t1", day(1))]
    small.wanted = [(DAY, f"u{i}", "t1", 1) for i in range(40)] + [(day(1), "other", "t1", 1)]
    small.write_inputs()
    small.run()
    before = selections(small)
    small.run(day(1))
    after = selections(small)
    assert scored_pairs(small, 1) == {("other", "t1")}
    moved = {pair for pair in before if before[pair]["artwork_id"] != after[pair]["artwork_id"]}
    # With ε = 1 a new draw of three artworks moves two in three.
    assert len(moved) == pytest.approx(40 * 2 / 3, abs=12)
    assert all((after[pair]["ds"] == day(1)) == (pair in moved) for pair in before)
    assert all(before[pair]["ranking"] == after[pair]["ranking"] for pair in before)


def test_the_exploring_slice_is_uniform_and_costs_no_scoring(spark: SparkSession, tmp_path: Path) -> None:
    small = small_warehouse(spark, tmp_path, uniform_share=1.0)
    small.write_inputs()
    small.run()
    assert scored_pairs(small) == set()
    assert {(row["source"], row["propensity"]) for pair, row in selections(small).items() if pair[1] == "t1"} == {
        ("uniform", 1 / 3)
    }


def test_a_corrected_rerun_reverts_what_the_first_run_published(next_night: SmallWarehouse) -> None:
    small = next_night
    small.write(TITLE_CANDIDATES, [(DAY, "u1", "t1", 1)])
    small.run()
    assert set(selections(small)) == {("u1", "t1")}
    assert {(row["user_id"], row["title_id"]) for row in small.rows(ARTWORK_SELECTION_LOG)} == {("u1", "t1")}


def test_a_wanted_title_without_active_artwork_is_rejected_and_the_rest_published(small: SmallWarehouse) -> None:
    small.wanted = [(DAY, "u1", "t1", 1), (DAY, "u1", "t2", 2), (DAY, "u1", "t3", 3)]
    small.artworks = [a for a in small.artworks if a[1] != "t3"]
    small.write_inputs()
    small.run()
    assert set(selections(small)) == {("u1", "t1"), ("u1", "t2")}
    row = small.rows(REJECTED_ROWS)[0]
    assert (row["rule"], row["step"]) == ("no_active_artwork", "contexts")
    assert json.loads(row["row"]) == {"user_id": "u1", "title_id": "t3"}


def test_a_failed_audit_stops_the_night(next_night: SmallWarehouse) -> None:
    night = next_night.night()
    whole = night.tonight(ARTWORK_SCORES).localCheckpoint()
    damaged = {
        "pairs neither scored nor rejected: 2": whole.where("user_id != 'u1'"),
        "scores that nobody asked for: 6": whole.withColumn("user_id", F.lit("nobody")),
        "other artworks than were asked: 6": whole.withColumn("artwork_ids", F.reverse("artwork_ids")),
        "scores that are no probabilities: 6": whole.withColumn(
            "probabilities", F.transform("probabilities", lambda p: p * 2)
        ),
    }
    null = F.transform("probabilities", lambda p, place: F.when(place > 0, p))
    for message, scores in [
        *damaged.items(),
        ("scores that are no probabilities: 6", whole.withColumn("probabilities", null)),
    ]:
        night.replace(ARTWORK_SCORES, scores)
        with pytest.raises(ContractError, match=message):
            audit(night)


def test_a_publish_that_was_killed_after_the_log_is_completed_by_the_next(
    small: SmallWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write_inputs()
    small.prepare()
    small.score()
    with monkeypatch.context() as patch:
        patch.setattr("spark_jobs.publish.merge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            publish(small.night())
    assert len(small.rows(ARTWORK_SELECTION_LOG)) == 9
    assert small.rows(ARTWORK_SELECTIONS) == []
    small.finish()
    assert len(small.rows(ARTWORK_SELECTIONS)) == len(small.rows(ARTWORK_SELECTION_LOG)) == 9


def test_without_candidates_als_recommends_from_the_history_noted_when_the_night_began(small: SmallWarehouse) -> None:
    small.wanted = [(day(-1), "u9", "t1", 1)]
    small.artworks = [a for a in small.artworks if a[1] != "t2"]
    small.write_inputs()
    validate(small.night())
    small.write(VIEWING_HISTORY, [viewing("a late user", "t1")])
    candidates(small.night())
    # Every user of the history, and only titles with an artwork to show.
    assert [
        (row["user_id"], sorted(row["title_ids"]))
        for row in sorted(small.rows(WANTED_PAIRS), key=itemgetter("user_id"))
    ] == [(user, ["t1", "t3"]) for user in ("u1", "u2", "u3")]


def test_too_many_rejects_stop_the_night_and_are_kept(spark: SparkSession, tmp_path: Path) -> None:
    small = small_warehouse(spark, tmp_path, rejected_share_limit=0.01)
    small.artworks[0] = artwork("a11", "t1", " ")
    small.write_inputs()
    with pytest.raises(ContractError, match=r"artworks: 1 of 6 rows were rejected \(16.7%\), over the limit of 1.0%"):
        validate(small.night())
    assert [row["rule"] for row in small.rows(REJECTED_ROWS)] == ["caption_blank"]


def test_all_missing_inputs_are_named_at_once(small: SmallWarehouse) -> None:
    with pytest.raises(ContractError, match=r"viewing_history: .*; titles: .*; artworks: .*marquee sample"):
        validate(small.night())


def test_a_day_without_history_is_an_error(small: SmallWarehouse) -> None:
    small.write_inputs()
    with pytest.raises(ContractError, match=r"no rows with watch_date=2026-01-13.*newest is 2026-01-10"):
        validate(small.night(day(3)))


def test_numbers_are_distinct_and_the_same_for_the_same_ids(spark: SparkSession) -> None:
    ids = spark.range(3000).select(F.concat(F.lit("u"), "id").alias("user_id"))
    first, second = (
        {row["user_id"]: row["n"] for row in numbered(frame, "user_id", "n").collect()}
        for frame in (ids, ids.union(ids).repartition(7))
    )
    assert first == second
    assert len(set(first.values())) == 3000


def test_a_service_on_its_first_day_publishes_what_it_can_and_reports_it(
    small: SmallWarehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    small.history, small.wanted = [], []
    small.write_inputs()
    small.run()
    assert "viewing_history is empty, as it is before anybody" in (printed := capsys.readouterr().out)
    assert "nobody has watched a title with an active artwork" in printed
    assert small.rows(ARTWORK_SELECTIONS) == []
    assert {row["title_id"] for row in small.rows(TITLE_DEFAULTS)} == {"t1", "t2", "t3"}


def test_a_first_day_scores_its_wanted_pairs(small: SmallWarehouse) -> None:
    small.history = []
    small.write_inputs()
    small.prepare()
    assert scored_pairs(small) == WITH_A_CHOICE


def test_a_night_ends_well_if_nobody_watched_a_title_with_artwork(small: SmallWarehouse) -> None:
    small.history, small.wanted = [viewing("u1", "gone")], []
    small.write_inputs()
    small.prepare()
    assert steps(small, "candidates") == {"users": 0, "pairs": 0, "from_recommender": 0}


def test_a_history_that_is_empty_all_at_once_stops_the_night(small: SmallWarehouse) -> None:
    small.write_inputs()
    validate(small.night())
    small.write(VIEWING_HISTORY, [])
    with pytest.raises(ContractError, match="the table is empty, though an earlier night read 12 rows of it"):
        validate(small.night(day(1)))
