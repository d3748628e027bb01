"""The play-rate bands in a prompt, and the impressions they come from."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession

from schemas.settings import Settings
from schemas.tables import IMPRESSIONS, NIGHT_STEPS, TITLE_CHOICES
from spark_jobs.contexts import contexts
from spark_jobs.signals import BANDS, daily_plays, play_rate_bands
from spark_jobs.validate import validate
from tests.night_data import DAY, SmallWarehouse, day, nullable, small_warehouse

NEVER = None
VERY_SELDOM, SELDOM, AS_MOST, OFTEN, VERY_OFTEN = BANDS


def impression(
    user: str, artwork: str, on: date, played: bool = True, hour: int = 20, propensity: float = 0.5
) -> tuple[Any, ...]:
    at = datetime(on.year, on.month, on.day, hour)
    among = {"1": ["a11", "a12", "a13"], "2": ["a21", "a22"], "3": ["a31"]}[artwork[1]]
    return (on, user, "t" + artwork[1], artwork, among, propensity, at, played, 60.0 if played else 0.0)


def shown_to(users: int, artwork: str, on: date, plays: int) -> list[tuple[Any, ...]]:
    return [impression(f"{artwork} {number}", artwork, on, played=number < plays) for number in range(users)]


def bands(
    spark: SparkSession, daily: list[tuple[Any, ...]], wanted: list[tuple[str, str, date]], **settings: Any
) -> Any:
    """Bands by artwork and day; `daily` are rows of title_id, artwork_id, day, shown, plays."""
    found = play_rate_bands(
        spark.createDataFrame(daily, "title_id string, artwork_id string, day date, shown long, plays long"),
        spark.createDataFrame(wanted, "title_id string, artwork_id string, day date"),
        Settings(**settings),
    ).collect()
    return {(row["artwork_id"], row["day"]): row["band"] for row in found}


def test_an_artworks_band_compares_its_play_rate_to_its_titles(spark: SparkSession) -> None:
    plays = {"a": 80, "b": 60, "c": 50, "d": 40, "e": 20}
    daily = [("t", artwork, day(-1), 100, count) for artwork, count in plays.items()]
    # A title with a lower play rate overall: its artworks do not count as played seldom.
    daily += [("low", artwork, day(-1), 100, count) for artwork, count in (("x", 10), ("y", 10), ("z", 20))]
    wanted = [("t", artwork, DAY) for artwork in (*plays, "new")] + [("low", artwork, DAY) for artwork in "xyz"]
    found = bands(spark, daily, [*wanted, ("t", "a", DAY)])
    assert found == {
        ("a", DAY): VERY_OFTEN,
        ("b", DAY): OFTEN,
        ("c", DAY): AS_MOST,
        ("d", DAY): SELDOM,
        ("e", DAY): VERY_SELDOM,
        ("new", DAY): NEVER,
        # Rates of 0.111 and 0.181, in log-odds 0.24 below and 0.34 above the title's 0.137.
        ("x", DAY): SELDOM,
        ("y", DAY): SELDOM,
        ("z", DAY): OFTEN,
    }


@pytest.mark.parametrize(("shown", "plays", "expected"), [(1, 1, AS_MOST), (1, 0, AS_MOST), (9, 9, VERY_OFTEN)])
def test_one_lucky_play_moves_no_band(spark: SparkSession, shown: int, plays: int, expected: str) -> None:
    daily = [("t", "a", day(-1), shown, plays), ("t", "b", day(-1), 400, 200)]
    assert bands(spark, daily, [("t", "a", DAY)]) == {("a", DAY): expected}


def test_a_days_bands_use_the_history_days_before_it(spark: SparkSession) -> None:
    daily = [("t", "b", day(offset), 400, 200) for offset in range(-8, 4)] + [("t", "a", day(0), 50, 50)]
    wanted = [("t", "a", day(offset)) for offset in (-1, 0, 1, 3, 4, 9)]
    found = bands(spark, daily, wanted, history_days=3)
    assert list(found.values()) == [found["a", on] for _, _, on in wanted]
    assert [found["a", on] for _, _, on in wanted] == [NEVER, NEVER, VERY_OFTEN, VERY_OFTEN, NEVER, NEVER]


@pytest.mark.parametrize("plays", [0, 50])
def test_there_are_bands_even_if_all_or_nothing_was_played(spark: SparkSession, plays: int) -> None:
    found = bands(spark, [("t", "a", day(-1), 50, plays), ("t", "b", day(-1), 50, plays)], [("t", "a", DAY)])
    assert found == {("a", DAY): AS_MOST}


def test_without_impressions_there_are_no_bands(spark: SparkSession) -> None:
    assert bands(spark, [], [("t", "a", DAY), ("t", "b", day(1))]) == {("a", DAY): NEVER, ("b", day(1)): NEVER}


def test_only_the_first_impression_of_a_draw_is_counted(spark: SparkSession) -> None:
    log = [
        impression("u1", "a11", day(-2), played=False),
        impression("u1", "a11", day(-1), played=True),
        impression("u1", "a11", day(-1), played=True, hour=21, propensity=0.25),
        impression("u2", "a11", day(-1), played=False),
    ]
    frame = spark.createDataFrame(log, nullable(IMPRESSIONS))
    found = daily_plays(frame, Settings(epoch_days=10_000)).orderBy("day").collect()
    assert [tuple(row) for row in found] == [("t1", "a11", day(-2), 1, 0), ("t1", "a11", day(-1), 2, 1)]


def night_with(made: SmallWarehouse) -> tuple[dict[str, str], dict[str, int]]:
    """The text after the number of each artwork's option, and the step's counts."""
    night = made.night()
    validate(night)
    contexts(night)
    lines_of: dict[str, str] = {}
    for row in made.rows(TITLE_CHOICES):
        lines = row["choice"].splitlines()[-len(row["artwork_ids"]) - 1 : -1]
        lines_of |= {art: line.partition(". ")[2] for art, line in zip(row["artwork_ids"], lines, strict=True)}
    (steps,) = made.warehouse.read(NIGHT_STEPS).where("step = 'contexts'").collect()
    return lines_of, dict(steps["counts"])


def test_a_nights_options_have_their_bands_up_to_the_day_before(spark: SparkSession, tmp_path: Path) -> None:
    made = small_warehouse(spark, tmp_path, signals=("play_rate",), epoch_days=10_000)
    made.impressions = [
        *shown_to(30, "a11", day(-1), plays=27),
        *shown_to(30, "a12", day(-1), plays=3),
        # On the day itself.
        *shown_to(30, "a21", DAY, plays=30),
    ]
    made.write_inputs()
    options, counts = night_with(made)
    assert options == {
        "a11": "caption of a11; played very often",
        "a12": "caption of a12; played very seldom",
        **{artwork: f"caption of {artwork}" for artwork in ("a13", "a21", "a22", "a31")},
    }
    assert counts["artworks_with_play_rate"] == 2


def test_without_a_log_of_impressions_a_night_has_no_bands(spark: SparkSession, tmp_path: Path) -> None:
    made = small_warehouse(spark, tmp_path, signals=("play_rate",))
    made.write_inputs()
    options, counts = night_with(made)
    assert options == {artwork: f"caption of {artwork}" for artwork in ("a11", "a12", "a13", "a21", "a22", "a31")}
    assert counts["artworks_with_play_rate"] == 0


def test_signals_are_a_list_of_known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_SIGNALS", '["play_rate", "taste_group"]')
    assert Settings().signals == ("play_rate", "taste_group")
    monkeypatch.setenv("MARQUEE_SIGNALS", '["play_rates"]')
    with pytest.raises(ValidationError, match=r"(?s)signals.*Input should be 'play_rate' or 'taste_group'"):
        Settings()
