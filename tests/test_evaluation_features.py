"""The baselines' features of users and artworks, and the slices of the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.features import (
    artwork_themes,
    learned_play_rates,
    rare_themes,
    vocabulary,
    with_crossed,
    with_user_themes,
)
from evaluation.log import gathered, held_out, options_of, training
from evaluation.regression import FOLDS, cross_fitted, fold_of
from evaluation.slices import popularity, with_slices
from schemas.settings import Settings
from schemas.tables import ARTWORKS, POST_TRAINING_EXAMPLES, TITLES, VIEWING_HISTORY
from spark_jobs.prompts import user_context_texts
from tests.night_data import DAY, nullable, title, viewing

AT = datetime(2026, 1, 10, 12)


def artworks(spark: SparkSession, *rows: tuple[str, list[str] | None]) -> DataFrame:
    """Artworks (id, themes); the title is the id up to the dash."""
    full = [(i, i.partition("-")[0], f"caption {i}", themes, None, False, DAY, None) for i, themes in rows]
    return spark.createDataFrame(full, nullable(ARTWORKS))


def example(
    user: str, title_id: str, ids: list[str], shown: int = 1, played: bool = False, **other: Any
) -> tuple[Any, ...]:
    row = {
        "ds": DAY,
        "split": "held_out",
        "user_id": user,
        "title_id": title_id,
        "shown_at": AT,
        "context_key": user,
        "context": "",
        "choice_key": title_id,
        "choice": "",
        "artwork_ids": ids,
        "shown": shown,
        "propensity": 1 / len(ids),
        "played": played,
        "play_seconds": 0.0,
        "history_titles": 0,
        "themes": [],
        "watched_genres": [],
        "signals": [],
        **other,
    }
    return tuple(row[name] for name in POST_TRAINING_EXAMPLES.column_names)


def examples(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), nullable(POST_TRAINING_EXAMPLES))


def test_user_themes_are_of_the_viewings_that_a_context_shows(spark: SparkSession) -> None:
    titles = [
        title("t1", "Mission: Again", ["Drama", "War"]),
        title("t2", "War: The Film", ["Drama"]),
        title("t3", "Left", ["War"]),
        title("t4", "Crime: A Story", []),
    ]
    history = [viewing("u1", f"t{n}", completion=0.1 if n == 3 else 0.9, hour=n) for n in (1, 2, 3, 4)]
    texts = user_context_texts(
        spark.createDataFrame([("u1",), ("u2",)], "user_id string"),
        spark.createDataFrame(history, nullable(VIEWING_HISTORY)),
        spark.createDataFrame(titles, nullable(TITLES)),
        Settings(),
    )
    found = with_user_themes(texts, ["drama", "war", "horror"]).select("user_id", "user_themes").collect()
    assert {row[0]: row[1] for row in found} == {"u1": pytest.approx([2 / 3, 1 / 3, 0]), "u2": [0.0, 0.0, 0.0]}


def test_artwork_themes_add_up(spark: SparkSession) -> None:
    rows = artworks(spark, ("t1-1", ["War", "drama"]), ("t1-2", ["war"]), ("t1-3", None))
    found = {row[0]: row[1] for row in artwork_themes(rows, ["drama", "war"]).collect()}
    assert found == {"t1-1": [0.5, 0.5], "t1-2": [0.0, 1.0], "t1-3": [0.0, 0.0]}


def test_themes_are_counted_by_artworks(spark: SparkSession) -> None:
    rows = artworks(spark, ("t1-1", ["war", "War"]), ("t1-2", ["drama"]), ("t1-3", ["drama", "crime"]), ("t1-4", None))
    assert vocabulary(rows) == ["drama", "crime", "war"]
    assert rare_themes(rows) == ["crime"]


def test_play_rates_lean_on_the_title(spark: SparkSession) -> None:
    """t1: 5 plays of 10, all of t1-1's 5; t2 was never shown. The overall rate is 0.5."""
    ids = ["t1-1", "t1-2"]
    log = [example(f"u{n}", "t1", ids, 1 + n % 2, n % 2 == 0, split="training") for n in range(10)]
    rates = learned_play_rates(
        training(examples(spark, *log)), artworks(spark, ("t1-1", None), ("t1-2", None), ("t1-3", None), ("t2-1", None))
    )
    weight = 1 / (0.45**2 * 0.25)  # impressions that the title's rate counts as
    assert {row[0]: row[1] for row in rates.collect()} == pytest.approx(
        {"t1-1": (5 + weight / 2) / (5 + weight), "t1-2": weight / 2 / (5 + weight), "t1-3": 0.5, "t2-1": 0.5}
    )


def test_play_rates_are_known_where_nothing_was_played_or_shown(spark: SparkSession) -> None:
    nothing = training(examples(spark, example("u1", "t1", ["t1-1", "t1-2"], 1, False, split="training")))
    catalogue = artworks(spark, ("t1-1", None), ("t1-2", None))
    found = {row[0]: row[1] for row in learned_play_rates(nothing, catalogue).collect()}
    assert 0 < found["t1-1"] < found["t1-2"] < 1 / 3
    assert {row[1] for row in learned_play_rates(nothing.limit(0), catalogue).collect()} == {0.5}


def test_an_artwork_that_was_logged_under_another_title_has_one_rate(spark: SparkSession) -> None:
    log = [
        example(f"u{n}", title_id, ["t1-1", "t1-2"], 1, True, split="training")
        for n, title_id in enumerate(["t1", "t2"])
    ]
    found = learned_play_rates(
        training(examples(spark, *log)), artworks(spark, ("t1-1", None), ("t1-2", None))
    ).collect()
    assert sorted(row[0] for row in found) == ["t1-1", "t1-2"]


def test_arrays_keep_the_order_of_the_options(spark: SparkSession) -> None:
    ids = [f"t1-{number}" for number in (3, 11, 1, 2)]
    log = held_out(examples(spark, example("u1", "t1", ids), example("u2", "t1", ids[::-1])))
    scored = options_of(log).withColumn("score", F.substring_index("artwork_id", "-", -1).cast("double"))
    found = {row["user_id"]: row["score"] for row in gathered(scored, "score").collect()}
    assert found == {"u1": [3, 11, 1, 2], "u2": [2, 1, 11, 3]}


def test_impressions_without_a_choice_are_left_out(spark: SparkSession) -> None:
    log = held_out(
        examples(spark, example("u1", "t1", ["t1-1"]), example("u2", "t1", ["t1-1", "t1-2"], split="training"))
    )
    assert log.count() == 0


def test_q_is_predicted_by_the_other_folds(spark: SparkSession) -> None:
    """A reward equal to the user's fold cannot be learned from the other fold, which never has it."""
    users = spark.range(60).select(F.concat(F.lit("u"), "id").alias("user_id"))
    fold = fold_of(F.col("user_id"))
    features = array_to_vector(F.array(fold.cast("double"), F.lit(1.0)))
    rows = users.select("user_id", fold.cast("double").alias("reward"), features.alias("features"))
    found = cross_fitted(rows, rows, "q").withColumn("fold", fold)
    means = {row["fold"]: row["mean"] for row in found.groupBy("fold").agg(F.avg("q").alias("mean")).collect()}
    assert len(means) == FOLDS
    assert means[0] > 0.9
    assert means[1] < 0.1


def test_the_bandit_knows_each_product_of_a_user_theme_and_an_artwork_theme(spark: SparkSession) -> None:
    pairs = spark.createDataFrame(
        [([0.5, 0.25], [0.0, 1.0])], "user_themes array<double>, artwork_themes array<double>"
    )
    [row] = with_crossed(pairs, 2).collect()
    assert row["features"].toArray().tolist() == [0.0, 1.0, 0.0, 0.5, 0.0, 0.25]


def test_thirds_of_impressions(spark: SparkSession) -> None:
    shown = {"t1": 5, "t2": 3, "t3": 2, "t4": 2}
    log = [example(f"u{n}", title_id, ["a", "b"]) for title_id, times in shown.items() for n in range(times)]
    found = {row["title_id"]: row["popularity"] for row in popularity(examples(spark, *log)).collect()}
    assert found == {"t1": "most popular", "t2": "middle", "t3": "least popular", "t4": "least popular"}


def test_every_impression_is_in_one_slice_of_each_kind(spark: SparkSession) -> None:
    rows = examples(
        spark,
        example("u1", "t1", ["t1-1", "t1-2", "t1-3", "t1-4"], history_titles=9),
        example("u2", "t2", ["t2-1", "t2-2"], history_titles=20),
    )
    catalogue = artworks(spark, *[(f"t1-{n}", ["crime"] if n == 4 else ["drama"]) for n in range(1, 5)], ("t2-1", None))
    found = with_slices(held_out(rows), rows, catalogue, ["crime"]).select("user_id", "slices").collect()
    slices = {row["user_id"]: {each["slice_by"]: each["slice"] for each in row["slices"]} for row in found}
    assert slices["u1"] == {
        "all": "all",
        "artworks": "4-6",
        "popularity": "most popular",
        "history": "1-9",
        "niche": "a niche artwork",
    }
    assert (slices["u2"]["artworks"], slices["u2"]["history"], slices["u2"]["niche"]) == ("2-3", "20 or more", "none")
