"""The examples of post-training, on a small literal log."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from examples.impressions import epoch_of
from schemas.contract import ContractError
from schemas.preferences import COUNT_LIMIT
from schemas.settings import Settings
from schemas.tables import (
    HELD_OUT_CHOICES,
    HELD_OUT_CONTEXTS,
    NIGHT_INPUTS,
    POST_TRAINING_EXAMPLES,
    PREFERENCE_PAIRS,
    TASTE_GROUPS,
    TITLE_CHOICES,
    USER_CONTEXTS,
)
from spark_jobs.examples import examples, make_examples
from spark_jobs.policy import epoch
from spark_jobs.preferences import preference_pairs, weighted
from spark_jobs.splits import split
from tests.night_data import DAY, SmallWarehouse, artwork, day, small_warehouse, title, viewing

THREE, TWO = ["a11", "a12", "a13"], ["a21", "a22"]


def impression(
    user: str,
    shown: str,
    on: date = DAY,
    played: bool = True,
    hour: int = 20,
    propensity: float = 0.5,
    eligible: list[str] | None = None,
) -> tuple[Any, ...]:
    title = "t" + shown[1]
    among = eligible or {"t1": THREE, "t2": TWO, "t3": ["a31"]}[title]
    at = datetime(on.year, on.month, on.day, hour)
    return (on, user, title, shown, among, propensity, at, played, 60.0 if played else 0.0)


def warehouse(spark: SparkSession, folder: Path, impressions: list[Any], **settings: Any) -> SmallWarehouse:
    # All days of these tests are in one epoch, and nobody is held out by default.
    made = small_warehouse(spark, folder, **{"epoch_days": 10_000, "held_out_share": 0.001, **settings})
    made.impressions = impressions
    made.write_inputs()
    return made


def made_examples(made: SmallWarehouse) -> list[Any]:
    """The rows that the step would write, sorted by user, title and time."""
    night = made.night()
    night.read_as_of_now()
    rows = make_examples(night).rows.select(*POST_TRAINING_EXAMPLES.column_names)
    return sorted(rows.collect(), key=lambda row: (row["user_id"], row["title_id"], row["shown_at"]))


def test_an_example_is_the_question_of_just_before_it_was_shown(spark: SparkSession, tmp_path: Path) -> None:
    made = warehouse(spark, tmp_path, [impression("u1", "a12", hour=20)])
    made.history = [
        viewing("u1", "t2", DAY, hour=19),
        viewing("u1", "t3", DAY, hour=20),
        viewing("u1", "t1", DAY, hour=21),
    ]
    made.write_inputs()
    (row,) = made_examples(made)
    assert row["context"].endswith("Watched, latest first:\n- Title t2 (1999): drama\n")
    assert row["history_titles"] == 1
    assert sorted(row["artwork_ids"]) == THREE
    assert row["artwork_ids"][row["shown"] - 1] == "a12"
    assert f"{row['shown']}. caption of a12\n" in row["choice"]
    assert (row["propensity"], row["played"], row["split"]) == (0.5, True, "training")


@pytest.mark.parametrize("signals", [(), ("play_rate", "taste_group")])
def test_no_later_data_change_an_example(spark: SparkSession, tmp_path: Path, signals: tuple[str, ...]) -> None:
    earlier = [impression(f"user {number}", "a12", day(-2), played=number < 9) for number in range(10)]
    log = [impression("u1", "a12"), impression("u1", "a21", played=False, hour=9), impression("u2", "a11", day(-1))]
    made = warehouse(spark, tmp_path, [*earlier, *log], signals=signals)
    # Up to the Sunday before, which is day(-6).
    made.history += [viewing(user, title_id, day(-6)) for user, title_id in (("u1", "t1"), ("u2", "t2"), ("u9", "t1"))]
    made.titles[0] = title("t1", genres=["Crime"])
    made.write_inputs()
    before = made_examples(made)
    for column, words in (("choice", "; played "), ("context", "\nTaste group: viewers of ")):
        assert any(words in row[column] for row in before) == bool(signals)
    assert {tuple(row["signals"]) for row in before} == {signals}
    if signals:
        # As if the groups were computed only now, from more data.
        made.warehouse.delta(TASTE_GROUPS).delete()
    made.history = [
        *made.history,
        *(viewing(user, title_id, day(-5)) for user in ("u8", "u9") for title_id in ("t2", "t3")),
        viewing("u1", "t3", DAY, hour=20),
        viewing("u1", "t3", DAY, hour=23),
        viewing("u2", "t3", DAY, hour=1),
        viewing("u1", "t3", day(2)),
    ]
    made.artworks = [*made.artworks, artwork("a14", "t1", active_from=day(1))]
    made.impressions = [
        *earlier,
        *log,
        # Of a title with one artwork, so that they make no example, on the day itself and later.
        *(impression(f"u{number}", "a11", on, eligible=["a11"]) for number in range(40) for on in (DAY, day(1))),
        # The same draws once more, and later ones.
        impression("u1", "a12", hour=21, played=False),
        impression("u2", "a11", DAY, played=False),
        impression("u1", "a12", day(3)),
        impression("u3", "a13", day(1)),
    ]
    made.write_inputs()
    assert made_examples(made) == before
    assert len(before) == 13


def test_a_choice_has_the_bands_of_its_impressions_day(spark: SparkSession, tmp_path: Path) -> None:
    logged = [impression("u1", "a11", on, propensity=0.01 * on.day) for on in (day(-3), day(-1), DAY)]
    # From day(-1) on the log shows that a12 is played and a13 is not.
    earlier = [
        impression(f"{shown} {number}", shown, day(-2), played=shown == "a12")
        for number in range(20)
        for shown in ("a12", "a13")
    ]
    made = warehouse(spark, tmp_path, [*logged, *earlier], signals=("play_rate",))
    rows = [row for row in made_examples(made) if row["user_id"] == "u1"]
    options = [row["choice"].splitlines()[row["artwork_ids"].index("a12") - 4] for row in rows]
    assert [line.partition("; ")[2] for line in options] == ["", "played very often", "played very often"]
    # Which artwork comes first depends on user and set, as without the signal.
    key = F.concat(F.lit("t1@"), F.hex(F.xxhash64(F.array(*map(F.lit, THREE)))))
    first = F.pmod(F.xxhash64(F.lit("u1"), key), F.lit(3))
    ((set_key, ordering),) = spark.range(1).select(key, first).collect()
    (ids,) = {tuple(row["artwork_ids"]) for row in rows}
    by_hash = spark.createDataFrame([(each,) for each in THREE], "id string").orderBy(F.xxhash64("id")).collect()
    assert ids[0] == by_hash[ordering]["id"]
    keys = [row["choice_key"] for row in rows]
    assert keys[0] != keys[1]
    assert all(each.startswith(set_key + "@") for each in keys)


def test_only_the_first_impression_of_a_draw_counts(spark: SparkSession, tmp_path: Path) -> None:
    log = [
        impression("u1", "a11", day(-3), played=False),
        impression("u1", "a11", day(-2), played=True),
        impression("u1", "a12", day(-1), propensity=0.25),
        impression("u1", "a12", DAY, propensity=0.26),
    ]
    made = warehouse(spark, tmp_path, log)
    rows = made_examples(made)
    assert [(row["shown_at"].day, row["played"]) for row in rows] == [(7, False), (9, True), (10, True)]
    night = made.night()
    night.read_as_of_now()
    counts = make_examples(night).counts
    assert (counts["impressions"], counts["repeat"], counts["usable"]) == (4, 1, 3)


def test_a_new_epoch_is_a_new_draw(spark: SparkSession, tmp_path: Path) -> None:
    log = [impression("u1", "a11", day(offset), played=False) for offset in (-3, -2, -1, 0)]
    made = warehouse(spark, tmp_path, log, epoch_days=2)
    epochs = {epoch_of("u1", day(offset), made.settings) for offset in (-3, -2, -1, 0)}
    assert len(made_examples(made)) == len(epochs)


def test_the_sample_services_epochs_are_those_of_the_policy(spark: SparkSession) -> None:
    configured = Settings(epoch_days=5, salt="another")
    users, days = [f"user {number}" for number in range(40)], [DAY + timedelta(days=each) for each in range(9)]
    frame = spark.createDataFrame([(user, each) for user in users for each in days], "user string, day date")
    found = frame.select("*", epoch(F.col("user"), F.col("day"), configured).alias("epoch")).collect()
    assert all(row["epoch"] == epoch_of(row["user"], row["day"], configured) for row in found)


def test_single_artworks_and_unusable_questions_make_no_example(spark: SparkSession, tmp_path: Path) -> None:
    log = [
        impression("u1", "a31"),
        impression("u1", "a21", eligible=["a21", "a gone"]),
        impression("u2", "a21", eligible=["a21", "a11"]),
        impression("u3", "a21", propensity=0.0),
        impression("u3", "a11"),
    ]
    rows = made_examples(warehouse(spark, tmp_path, log))
    assert [(row["user_id"], row["title_id"]) for row in rows] == [("u3", "t1")]


def test_an_artwork_that_has_ended_since_is_still_an_option(spark: SparkSession, tmp_path: Path) -> None:
    made = warehouse(spark, tmp_path, [impression("u1", "a21", day(-2))])
    made.artworks[4] = artwork("a22", "t2", active_to=day(-1))
    made.write_inputs()
    (row,) = made_examples(made)
    assert sorted(row["artwork_ids"]) == TWO


def test_the_shown_artworks_number_is_evenly_spread(spark: SparkSession, tmp_path: Path) -> None:
    log = [impression(f"user {number}", "a11", played=bool(number % 2)) for number in range(900)]
    rows = made_examples(warehouse(spark, tmp_path, log))
    counts = [sum(row["shown"] == place for row in rows) for place in (1, 2, 3)]
    assert sum(counts) == 900
    # Four standard errors of a third of 900.
    assert all(abs(count - 300) < 4 * (900 * 2 / 9) ** 0.5 for count in counts)


def test_a_user_is_on_one_side_whatever_else_is_logged(spark: SparkSession) -> None:
    users = spark.range(4000).select(F.col("id").cast("string").alias("user_id"))
    sides = {
        share: users.select(split(F.col("user_id"), Settings(held_out_share=share)).alias("s")) for share in (0.2, 0.4)
    }
    held = {share: [row["s"] == "held_out" for row in frame.collect()] for share, frame in sides.items()}
    assert sum(held[0.2]) / 4000 == pytest.approx(0.2, abs=0.03)
    assert all(more for less, more in zip(held[0.2], held[0.4], strict=True) if less)


def test_a_cap_keeps_the_impressions_of_a_pair_together(spark: SparkSession, tmp_path: Path) -> None:
    log = [
        impression(f"user {number}", shown, day(offset), propensity=0.3)
        for number in range(20)
        for shown, offset in (("a11", -1), ("a12", 0))
    ]
    rows = made_examples(warehouse(spark, tmp_path, log, training_examples=10))
    assert len(rows) == 10
    assert len({row["user_id"] for row in rows}) == 5


def pairs(made: SmallWarehouse) -> dict[str, list[tuple[str, str, str, float]]]:
    """(user, chosen artwork, rejected artwork, weight) by kind of negative."""
    night = made.night()
    night.read_as_of_now()
    rows = make_examples(night).rows
    by_example = {(row["user_id"], row["shown_at"]): row["artwork_ids"] for row in rows.collect()}
    found: dict[str, list[tuple[str, str, str, float]]] = {}
    for row in preference_pairs(rows, DAY).collect():
        ids = by_example[row["user_id"], row["shown_at"]]
        entry = (row["user_id"], ids[row["chosen"] - 1], ids[row["rejected"] - 1], row["weight"])
        found.setdefault(row["negative"], []).append(entry)
    return {kind: sorted(entries) for kind, entries in found.items()}


def test_preference_pairs_have_the_reason_of_their_ranking(spark: SparkSession, tmp_path: Path) -> None:
    log = [
        impression("u1", "a11", day(-1), played=False),
        impression("u1", "a12", DAY),
        impression("u2", "a21", DAY),
        impression("u3", "a22", DAY, played=False),
        # A user with another leading theme than the others.
        impression("u4", "a21", DAY, played=True),
    ]
    made = warehouse(spark, tmp_path, log)
    made.titles[2] = ("t3", "Title t3", 1999, ["Horror"], None)
    made.history = [viewing(user, "t1", day(-2)) for user in ("u1", "u2", "u3")] + [viewing("u4", "t3", day(-2))]
    made.history.append(viewing("u1", "t1", DAY))
    made.write_inputs()
    found = pairs(made)
    assert found["same_user"] == [("u1", "a12", "a11", 1.0)]
    assert found["like_users"] == [("u2", "a21", "a22", 1.0)]
    never = [("u1", "a12", "a13", 1.0), ("u2", "a21", "a22", 1.0), ("u4", "a21", "a22", 1.0)]
    assert found["never_shown"] == never


def test_an_artworks_weight_is_its_share_of_the_impressions(spark: SparkSession, tmp_path: Path) -> None:
    log = [impression("u1", "a11", DAY)]
    # One shows the artwork that was played: it makes no pair, but counts in the shares.
    below = (("a12", 0.5), ("a12", 0.5), ("a12", 0.5), ("a13", 0.2), ("a13", 0.01), ("a11", 0.2))
    log += [impression(f"v{n}", shown, DAY, played=False, propensity=p) for n, (shown, p) in enumerate(below)]
    made = warehouse(spark, tmp_path, log)
    made.history = [viewing(user, "t1", day(-2)) for user in ("u1", *(f"v{n}" for n in range(len(below))))]
    made.write_inputs()
    found = pairs(made)
    assert found["like_users"] == [("u1", "a11", "a12", 6 / 26), ("u1", "a11", "a13", (5 + COUNT_LIMIT) / 26)]


def test_preference_pairs_are_those_of_every_two_impressions(spark: SparkSession) -> None:
    """The step sums impressions of one artwork before it joins them; here every two impressions are joined."""
    drawing = random.Random(11)
    ids = ["a", "b", "c"]
    rows = [
        (
            f"u{drawing.randrange(4)}",
            f"t{drawing.randrange(2)}",
            datetime(2026, 1, 1) + timedelta(hours=hour),
            ids[(shown := drawing.randrange(3))],
            ids,
            shown + 1,
            drawing.choice([0.05, 0.2, 0.5]),
            drawing.random() < 0.4,
            [drawing.choice(["drama", "crime"])],
        )
        for hour in range(120)
    ]
    frame = spark.createDataFrame(
        rows,
        "user_id string, title_id string, shown_at timestamp, artwork_id string, artwork_ids array<string>, shown int, "
        "propensity double, played boolean, themes array<string>",
    )
    counts: dict[str, dict[tuple[Any, ...], dict[int, float]]] = {"same_user": {}, "like_users": {}}
    for (user, title_id, at, _, _, chosen, _, played, themes), other in product(rows, rows):
        if not played or other[7] or other[1] != title_id:
            continue
        kind = "same_user" if other[0] == user else "like_users"
        if kind == "like_users" and other[8] != themes:
            continue
        of_example = counts[kind].setdefault((user, title_id, at, chosen), {})
        of_example[other[5]] = of_example.get(other[5], 0) + min(1 / other[6], COUNT_LIMIT)
    expected = {
        (kind, *key, rejected): weight / sum(of_example.values())
        for kind, examples_ in counts.items()
        for key, of_example in examples_.items()
        for rejected, weight in of_example.items()
        if rejected != key[-1]
    }
    found = {
        (row["negative"], row["user_id"], row["title_id"], row["shown_at"], row["chosen"], row["rejected"]): row[
            "weight"
        ]
        for row in preference_pairs(frame, DAY).where("negative != 'never_shown'").collect()
    }
    assert len(found) > 100
    assert found == pytest.approx(expected)


def test_one_users_log_makes_examples_of_one_split(spark: SparkSession, tmp_path: Path) -> None:
    made = warehouse(spark, tmp_path, [impression("u1", "a11", day(-1), played=False), impression("u1", "a12", DAY)])
    examples(made.night())
    assert {(row["user_id"], row["split"]) for row in made.rows(POST_TRAINING_EXAMPLES)} == {("u1", "training")}
    assert {row["negative"] for row in made.rows(PREFERENCE_PAIRS)} == {"same_user", "never_shown"}
    assert made.rows(HELD_OUT_CONTEXTS) == made.rows(HELD_OUT_CHOICES) == []


def test_artworks_that_are_shown_often_have_no_advantage(spark: SparkSession) -> None:
    """Three artworks with the same play rate, one shown ten times as often: the pairs' weights are balanced."""
    shown = {1: 10, 2: 1, 3: 1}
    found = [
        (f"user {above}", "t", number, above, below, 1.0)
        for above, times in shown.items()
        for number in range(times)
        for below, others in shown.items()
        for _ in range(others)
    ]
    columns = "user_id string, title_id string, shown_at int, chosen int, rejected int, counts double"
    rows = spark.createDataFrame(found, columns)
    total: Counter[tuple[int, int]] = Counter()
    for row in weighted(rows).collect():
        total[row["chosen"], row["rejected"]] += row["weight"]
    assert {pair: total[pair] for pair in total} == pytest.approx({pair: total[pair[::-1]] for pair in total})
    assert len(total) == 6


def test_held_out_questions_have_tables_of_their_own_and_no_night_is_touched(
    spark: SparkSession, tmp_path: Path
) -> None:
    log = [impression(f"user {n}", shown, day(o)) for n in range(30) for shown, o in (("a11", -1), ("a12", 0))]
    made = warehouse(spark, tmp_path, log, held_out_share=0.5)
    made.prepare()
    nights = {table.name: made.rows(table) for table in (NIGHT_INPUTS, USER_CONTEXTS, TITLE_CHOICES)}
    examples(made.night())
    held_out = [row for row in made.rows(POST_TRAINING_EXAMPLES) if row["split"] == "held_out"]
    assert len(made.rows(PREFERENCE_PAIRS)) > 0
    assert 0 < len(held_out) < 60
    assert {table.name: made.rows(table) for table in (NIGHT_INPUTS, USER_CONTEXTS, TITLE_CHOICES)} == nights
    choices = {(row["choice_key"], row["ordering"]): row for row in made.rows(HELD_OUT_CHOICES)}
    contexts = {row["context_key"]: row for row in made.rows(HELD_OUT_CONTEXTS)}
    for row in held_out:
        context = contexts[row["context_key"]]
        (pair,) = [each for each in context["pairs"] if each["choice_key"] == row["choice_key"]]
        choice = choices[pair["choice_key"], pair["ordering"]]
        assert (context["context"], choice["choice"]) == (row["context"], row["choice"])
        assert choice["artwork_ids"] == row["artwork_ids"]
    assert not {row["context_key"] for row in held_out} ^ set(contexts)


def test_a_missing_or_bad_log_is_an_error(spark: SparkSession, tmp_path: Path) -> None:
    made = small_warehouse(spark, tmp_path / "none")
    made.write_inputs()
    with pytest.raises(ContractError, match="impressions: there is no Delta table"):
        examples(made.night())
    bad = warehouse(spark, tmp_path / "bad", [impression("u1", "a11", propensity=2.0)], rejected_share_limit=0.1)
    with pytest.raises(ContractError, match=r"impressions: 1 of 1 rows were rejected .*propensity_out_of_range 1"):
        examples(bad.night())
