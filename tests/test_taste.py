"""The group of viewers nearest to a user, its words, and the history it comes from."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.settings import Settings
from schemas.tables import NIGHT_STEPS, TASTE_GROUPS, TITLES, USER_CONTEXTS
from spark_jobs.candidates import candidates
from spark_jobs.contexts import contexts
from spark_jobs.factors import Factors, fitted
from spark_jobs.taste import described_groups, fit_day, group_words, taste_groups, user_groups, with_taste_groups
from spark_jobs.validate import validate
from tests.night_data import DAY, SmallWarehouse, artwork, day, nullable, small_warehouse, title, viewing

# DAY is a Saturday.
SUNDAY = day(-6)
KINDS = ("horror", "comedy")
# Ten users of each kind, who watch four of its six titles.
VIEWED = [
    (f"{kind} {number}", f"{kind} title {(number + step) % 6}")
    for kind in KINDS
    for number in range(10)
    for step in range(4)
]
CATALOGUE = [title(f"{kind} title {number}", genres=[kind.title(), "Drama"]) for kind in KINDS for number in range(6)]


def test_a_week_begins_with_what_is_known_on_a_sundays_evening() -> None:
    assert [fit_day(day(offset)) for offset in (-7, -6, -5, 0, 1)] == [day(-13), SUNDAY, SUNDAY, SUNDAY, day(1)]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (
            # Both watch drama, the second one more.
            [
                (0, "Heat", ["crime", "drama"]),
                (0, "Heat", ["crime", "drama"]),
                (0, "Heat", ["crime", "drama"]),
                (0, "Ronin", ["crime"]),
                (0, "Alien", ["sci-fi"]),
                (0, "Alien", ["sci-fi"]),
                (0, "Big", ["drama"]),
                (1, "Big", ["drama"]),
                (1, "Emma", ["romance", "drama"]),
                (1, "Emma", ["romance", "drama"]),
            ],
            {
                0: "viewers of crime and sci-fi, such as Heat and Alien",
                1: "viewers of romance and drama, such as Emma and Big",
            },
        ),
        (
            [(0, "Heat", []), (1, "Big", []), (1, "Alien", [])],
            {0: "viewers of titles such as Heat", 1: "viewers of titles such as Alien and Big"},
        ),
        # A title that all watch equally does not distinguish groups.
        ([(0, "Heat", ["crime"]), (1, "Heat", ["crime"])], {0: None, 1: None}),
    ],
)
def test_a_group_is_named_by_what_it_watches_more_than_all_do(
    spark: SparkSession, seen: list[Any], expected: dict[int, str | None]
) -> None:
    frame = spark.createDataFrame(seen, "group int, name string, genres array<string>")
    assert {row["group"]: row["taste_group"] for row in group_words(frame).collect()} == expected


def groups_of(spark: SparkSession, viewed: list[tuple[str, str, float]], parts: int = 1) -> dict[str, str]:
    frame = spark.createDataFrame(viewed, "user_id string, title_id string, completion double").repartition(parts)
    found = described_groups(fitted(frame), spark.createDataFrame(CATALOGUE, nullable(TITLES)), Settings())
    return {row["user_id"]: row["taste_group"] for row in found.collect()}


def test_users_get_the_group_of_those_who_watch_alike_in_every_run(spark: SparkSession) -> None:
    viewed = [(*pair, 0.9) for pair in VIEWED]
    found = groups_of(spark, viewed)
    assert set(found) == {user for user, _, _ in viewed}
    for user, words in found.items():
        kind = user.split()[0]
        assert words.startswith(f"viewers of {kind}, such as Title {kind} title ")
    assert groups_of(spark, viewed[::-1], parts=3) == found


def test_a_user_who_left_everything_at_once_has_a_group_too(spark: SparkSession) -> None:
    leaver = [("leaver", f"horror title {number}", 0.0) for number in range(4)]
    assert groups_of(spark, [(*pair, 0.9) for pair in VIEWED] + leaver)["leaver"].startswith("viewers of horror")


def test_a_group_is_of_users_whose_factors_point_the_same_way(spark: SparkSession) -> None:
    vectors = {"a": [1.0, 0.0], "b": [9.0, 0.0], "c": [0.0, 2.0], "d": [0.0, 0.1], "nothing is known of": [0.0, 0.0]}
    known = spark.createDataFrame(list(enumerate(vectors.values())), "id int, features array<float>")
    users = spark.createDataFrame(list(enumerate(vectors)), "user_number int, user_id string")
    model: Any = SimpleNamespace(userFactors=known)
    # Viewings and titles are not used.
    found = user_groups(Factors(users, model, users, users)).collect()
    groups = {row["user_id"]: row["group"] for row in found}
    assert set(groups) == set("abcd")
    assert groups["a"] == groups["b"] != groups["c"] == groups["d"]


def warehouse(spark: SparkSession, folder: Path, history: list[tuple[str, str, date]]) -> SmallWarehouse:
    """A warehouse without a title recommender, with a viewing on each day of the week that ends on DAY."""
    made = small_warehouse(spark, folder, signals=("taste_group",))
    made.titles, made.wanted = CATALOGUE, []
    made.artworks = [artwork(f"{row[0]} art {n}", row[0]) for row in CATALOGUE for n in range(2)]
    every_day = [("comedy 0", "comedy title 0", day(offset)) for offset in range(-6, 1)]
    made.history = [viewing(*each) for each in [*history, *every_day]]
    made.write_inputs()
    return made


def kept(made: SmallWarehouse) -> list[Any]:
    return made.rows(TASTE_GROUPS)


def test_a_nights_contexts_have_the_groups_of_the_latest_sunday(spark: SparkSession, tmp_path: Path) -> None:
    earlier = [(*pair, day(-8)) for pair in VIEWED]
    made = warehouse(
        spark, tmp_path, [*earlier, ("new", "horror title 1", day(-1)), ("horror 1", "comedy title 1", DAY)]
    )
    made.prepare()
    groups = {row["user_id"]: row["taste_group"] for row in kept(made)}
    contexts_ = {row["user_id"]: row["context"].splitlines() for row in made.rows(USER_CONTEXTS)}
    assert set(contexts_) == {*groups, "new"}
    assert {user: lines[2] for user, lines in contexts_.items() if user != "new"} == {
        user: f"Taste group: {words}" for user, words in groups.items()
    }
    assert contexts_["new"][2] == "Watched, latest first:"
    assert groups["horror 1"].startswith("viewers of horror")
    (steps,) = made.warehouse.read(NIGHT_STEPS).where("step = 'contexts'").collect()
    assert steps["counts"]["users_with_taste_group"] == 20
    # Even if a night has read nothing yet, a Sunday is read at the versions that the night noted.
    made.warehouse.delta(TASTE_GROUPS).delete()
    taste_groups(made.night(), [DAY])
    assert {row["user_id"]: row["taste_group"] for row in kept(made)} == groups


def test_on_a_sunday_the_fit_that_recommends_makes_the_groups(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = warehouse(spark, tmp_path, [(*pair, day(-8)) for pair in VIEWED])
    night = made.night(SUNDAY)
    validate(night)
    candidates(night)
    by_candidates = kept(made)
    assert len(by_candidates) == 20
    with monkeypatch.context() as patched:
        # The module's own name of the function it would fit with.
        patched.delattr("spark_jobs.taste.fitted")
        contexts(night)
    made.warehouse.delta(TASTE_GROUPS).delete()
    # From Saturday's inputs, which have later viewings.
    later = made.night()
    later.read_as_of_now()
    taste_groups(later, [DAY])
    assert kept(made) == by_candidates


def test_an_impression_has_the_group_of_the_latest_sunday_before_its_day(spark: SparkSession, tmp_path: Path) -> None:
    # Until the first Sunday `a` watches horror, in the week up to the second comedy.
    first = [(*pair, day(-20)) for pair in VIEWED] + [("a", "horror title 1", day(-14))]
    second = [("a", f"comedy title {n}", SUNDAY) for n in range(6)]
    made = warehouse(spark, tmp_path, [*first, *second])
    night = made.night()
    night.read_as_of_now()
    taste_groups(night, [day(-13), SUNDAY])
    by_week = {(row["ds"], row["user_id"]): row["taste_group"] for row in kept(made)}
    assert by_week[day(-13), "a"] != by_week[SUNDAY, "a"]
    days = [day(offset) for offset in (-13, -12, -7, -6, -5, 0, 1)]
    sample = spark.createDataFrame([("a", each) for each in days] + [("b", DAY)], "user_id string, ds date")
    found = {(row["user_id"], row["ds"]): row["taste_group"] for row in with_taste_groups(sample, night).collect()}
    sundays = [day(-20), day(-13), day(-13), day(-13), SUNDAY, SUNDAY, SUNDAY]
    assert found == {("a", each): by_week.get((sunday, "a")) for each, sunday in zip(days, sundays, strict=True)} | {
        ("b", DAY): None
    }
