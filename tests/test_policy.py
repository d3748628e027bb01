"""The policy and its draws, for many users at once."""

from __future__ import annotations

import math
import random
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from schemas.settings import Settings
from spark_jobs.policy import drawn, epoch, explored, explores, first_of_draws, ranked, uniform

DS = date(2026, 1, 10)
USERS = 20_000


def options(**probabilities: float) -> Column:
    return F.array(
        *(F.struct(F.lit(name).alias("artwork_id"), F.lit(p).alias("probability")) for name, p in probabilities.items())
    )


def users(spark: SparkSession) -> DataFrame:
    return spark.range(USERS).select(
        F.concat(F.lit("user "), "id").alias("user_id"), F.lit("a title").alias("title_id")
    )


def one(spark: SparkSession, column: Column) -> Any:
    return spark.range(1).select(column.alias("value")).collect()[0]["value"]


def shares(frame: DataFrame) -> dict[str, float]:
    return {row["artwork_id"]: row["count"] / USERS for row in frame.groupBy("artwork_id").count().collect()}


def test_propensities_follow_the_formula(spark: SparkSession) -> None:
    found = one(spark, explored(options(a=0.8, b=0.2, c=0.0), Settings(epsilon=0.3, temperature=0.5)))
    squares = 0.8**2 + 0.2**2
    expected = {"a": 0.7 * 0.64 / squares + 0.1, "b": 0.7 * 0.04 / squares + 0.1, "c": 0.1}
    assert {row["artwork_id"]: row["propensity"] for row in found} == pytest.approx(expected)


WEIGHTS = st.one_of(st.just(0.0), st.floats(1e-300, 1e-280), st.floats(1e-9, 1.0))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(st.lists(WEIGHTS, min_size=2, max_size=40).filter(any), min_size=1, max_size=30),
    temperature=st.one_of(st.floats(1e-6, 1e-2), st.floats(1e-2, 1000)),
    epsilon=st.one_of(st.just(1e-3), st.floats(0, 1)),
)
def test_a_policy_is_a_distribution_that_keeps_the_order_at_every_temperature(
    pairs: list[list[float]], temperature: float, epsilon: float, spark: SparkSession
) -> None:
    normalized = [[weight / math.fsum(weights) for weight in weights] for weights in pairs]
    rows = [([(f"a{n:02}", p) for n, p in enumerate(each)],) for each in normalized]
    frame = spark.createDataFrame(rows, "options array<struct<artwork_id:string,probability:double>>")
    policy = explored(F.col("options"), Settings(temperature=temperature, epsilon=epsilon))
    for row in frame.select(policy.alias("policy")).collect():
        found = [(option["probability"], option["propensity"]) for option in row["policy"]]
        assert math.fsum(propensity for _, propensity in found) == pytest.approx(1)
        least = epsilon / len(found)
        assert all(least - 1e-12 <= propensity <= 1 + 1e-12 for _, propensity in found)
        by_probability = [propensity for _, propensity in sorted(found)]
        assert by_probability == pytest.approx(sorted(by_probability), abs=1e-12)


def test_without_epsilon_the_best_artwork_gets_all(spark: SparkSession) -> None:
    found = one(spark, explored(options(b=0.4, a=0.4, c=0.2), Settings(epsilon=0.0)))
    assert {row["artwork_id"]: row["propensity"] for row in found} == {"a": 1.0, "b": 0.0, "c": 0.0}


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_no_artworks_have_no_propensities(spark: SparkSession, epsilon: float) -> None:
    none = F.filter(options(a=1.0), lambda _: F.lit(False))
    assert one(spark, explored(none, Settings(epsilon=epsilon))) == []


def test_artworks_are_drawn_as_often_as_their_propensity_says(spark: SparkSession) -> None:
    distribution = explored(options(a=0.6, b=0.3, c=0.1), Settings(epsilon=0.2))
    pairs = users(spark).withColumn("distribution", distribution)
    chosen = drawn(F.col("distribution"), F.col("user_id"), F.col("title_id"), DS, Settings())
    found = shares(pairs.select(chosen["artwork_id"].alias("artwork_id")))
    expected = {row["artwork_id"]: row["propensity"] for row in one(spark, distribution)}
    # Four standard errors of a share of 20,000 draws.
    assert found == pytest.approx(expected, abs=4 * 0.5 / USERS**0.5)


def test_an_artwork_that_the_policy_never_chooses_is_never_drawn(spark: SparkSession) -> None:
    distribution = explored(options(a=0.0, b=1.0, c=0.0), Settings(epsilon=0.0))
    chosen = drawn(distribution, F.col("user_id"), F.col("title_id"), DS, Settings())
    assert shares(users(spark).select(chosen["artwork_id"].alias("artwork_id"))) == {"b": 1.0}


def test_a_draw_holds_for_the_epoch_and_epochs_are_staggered(spark: SparkSession) -> None:
    settings = Settings(epoch_days=14)
    ends = users(spark).select(
        *(
            (
                epoch(F.col("user_id"), F.lit(DS + timedelta(days=d)), settings)
                != epoch(F.col("user_id"), F.lit(DS + timedelta(days=d + 1)), settings)
            )
            .cast("int")
            .alias(f"d{d}")
            for d in range(14)
        )
    )
    totals = ends.agg(*(F.sum(column) for column in ends.columns)).collect()[0]
    # Each user's epoch ends once in fourteen days, and about equally many on each day.
    assert sum(totals) == USERS
    assert min(totals) > USERS / 14 * 0.85


def test_the_first_of_a_draw_is_the_one_that_a_window_numbers_1(spark: SparkSession) -> None:
    """Over 2,000 impressions of 3 users, 2 titles, 3 artworks and 3 propensities on 20 days: some 250 draws."""
    drawing = random.Random(7)
    moments = drawing.sample(range(20 * 86_400), 2_000)
    rows = [
        (
            f"u{drawing.randrange(3)}",
            f"t{drawing.randrange(2)}",
            f"a{drawing.randrange(3)}",
            drawing.choice([0.1, 0.3, 1.0]),
            shown_at.date(),
            shown_at,
            drawing.random() < 0.5,
            [drawing.choice("ab"), None],
        )
        for shown_at in (datetime(2026, 1, 1) + timedelta(seconds=each) for each in moments)
    ]
    frame = spark.createDataFrame(
        rows,
        "user_id string, title_id string, artwork_id string, propensity double, ds date, shown_at timestamp, "
        "played boolean, more array<string>",
    ).repartition(4)
    config = Settings(epoch_days=6)
    draw = Window.partitionBy(
        "user_id", "title_id", "artwork_id", "propensity", epoch(F.col("user_id"), F.col("ds"), config)
    )
    numbered = frame.withColumn("place", F.row_number().over(draw.orderBy("shown_at")))
    expected = sorted(numbered.where("place = 1").drop("place").collect(), key=str)
    assert 100 < len(expected) < 1_000
    assert sorted(first_of_draws(frame, config).collect(), key=str) == expected


def test_a_small_change_of_the_distribution_moves_few_draws(spark: SparkSession) -> None:
    def choice(**probabilities: float) -> Column:
        distribution = explored(options(**probabilities), Settings(epsilon=0.0001, temperature=1.0))
        return drawn(distribution, F.col("user_id"), F.col("title_id"), DS, Settings())["artwork_id"]

    moved = users(spark).where(choice(a=0.5, b=0.5) != choice(a=0.52, b=0.48)).count()
    assert moved / USERS == pytest.approx(0.02, abs=0.005)


def test_the_exploring_slice_has_its_share_of_users(spark: SparkSession) -> None:
    found = users(spark).where(explores(F.col("user_id"), Settings(uniform_share=0.05))).count()
    assert found / USERS == pytest.approx(0.05, abs=0.008)


def test_uniform_gives_each_artwork_the_same(spark: SparkSession) -> None:
    found = one(spark, uniform(F.array(F.lit("a"), F.lit("b"), F.lit("c"), F.lit("d"))))
    assert [(row["artwork_id"], row["propensity"]) for row in found] == [(name, 0.25) for name in "abcd"]


def test_ranking_puts_the_most_probable_first_and_breaks_ties_by_id(spark: SparkSession) -> None:
    found = one(spark, ranked(options(c=0.2, b=0.4, a=0.4)))
    assert [row["artwork_id"] for row in found] == ["a", "b", "c"]
