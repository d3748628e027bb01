"""Logs whose truth is known, many at once: what the estimators are tried on.

A user has a level and a taste for each theme; a title has artworks of a theme and an appeal.

    P(play) = sigmoid(LEVEL + 0.6 level + 0.8 taste[theme] + 0.6 appeal)

The logging policy is 0.8 softmax(1.5 (0.6 appeal + 0.3 noise)) + 0.2 / K. Two policies are judged: `popular` shows the
artwork of most appeal, `personal` that of most appeal and taste as it knows it, with some error. Everything is a hash
of ids, so that a log is the same whenever and wherever it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.log import of_shown, point
from evaluation.policies import greedy

TITLES = 60
THEMES = 6
MOST_ARTWORKS = 8
IMPRESSIONS_A_USER = 5
LEVEL = -0.9
EXPLORE = 0.2
TARGETS = {"popular": "popular", "personal": "personal"}


def simulated_logs(spark: SparkSession, logs: Mapping[int, int], seed: int) -> DataFrame:
    """size, log and what `policies.judged` reads: `logs` maps a size, in impressions, to how many logs of it."""
    parts = [_impressions(spark, size, count, seed) for size, count in logs.items()]
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return _with_q(_shown(_with_policies(_with_options(rows))).persist(StorageLevel.MEMORY_AND_DISK), "size", "log")


def _impressions(spark: SparkSession, size: int, logs: int, seed: int) -> DataFrame:
    """size, log, impression, user_id, title: users come up IMPRESSIONS_A_USER times each on average."""
    users = size // IMPRESSIONS_A_USER
    row = F.concat_ws("/", F.lit(seed), F.lit(size), "log", "impression")
    user = F.floor(users * point(row, F.lit("user")))
    return (
        spark.range(size * logs)
        .select(
            F.lit(size).alias("size"),
            F.floor(F.col("id") / size).alias("log"),
            F.pmod("id", F.lit(size)).alias("impression"),
        )
        .select(
            "size",
            "log",
            row.alias("impression"),
            F.concat_ws("/", F.lit(seed), F.lit(size), "log", user).alias("user_id"),
            F.floor(TITLES * point(row, F.lit("title"))).alias("title"),
        )
    )


def _with_options(rows: DataFrame) -> DataFrame:
    """Adds artwork_ids and, as arrays over them, appeal, taste and true_play."""
    count = 2 + F.floor((MOST_ARTWORKS - 1) * point(F.col("title"), F.lit("count")))
    ids = F.transform(
        F.sequence(F.lit(1), count), lambda number: F.concat_ws("-", F.col("title"), number.cast("string"))
    )
    level = 0.6 * normal(F.col("user_id"), F.lit("level"))

    def theme(artwork: Column) -> Column:
        return F.floor(THEMES * point(artwork, F.lit("theme")))

    return (
        rows.withColumn("artwork_ids", ids)
        .withColumn("appeal", F.transform("artwork_ids", lambda each: normal(each, F.lit("appeal"))))
        .withColumn("taste", F.transform("artwork_ids", lambda each: normal(F.col("user_id"), theme(each))))
        .withColumn(
            "true_play",
            F.zip_with("appeal", "taste", lambda appeal, taste: sigmoid(LEVEL + level + 0.8 * taste + 0.6 * appeal)),
        )
    )


def _with_policies(rows: DataFrame) -> DataFrame:
    """Adds the targets of TARGETS, and `logged`, the logging policy's probabilities."""
    liked = F.zip_with(
        "appeal",
        "artwork_ids",
        lambda appeal, artwork: F.exp(1.5 * (0.6 * appeal + 0.3 * normal(artwork, F.lit("noise")))),
    )
    known = F.zip_with("appeal", "taste", lambda appeal, taste: 0.6 * appeal + 0.6 * taste)
    blurred = F.zip_with(
        known, "artwork_ids", lambda score, artwork: score + 0.5 * normal(F.col("user_id"), artwork, F.lit("blur"))
    )
    total = F.aggregate("liked", F.lit(0.0), lambda sum_, each: sum_ + each)
    explored = F.transform("liked", lambda each: (1 - EXPLORE) * each / total + EXPLORE / F.size("liked"))
    return (
        rows.withColumn("popular", greedy(F.col("appeal")))
        .withColumn("personal", greedy(blurred))
        .withColumn("liked", liked)
        .withColumn("logged", explored)
    )


def _shown(rows: DataFrame) -> DataFrame:
    """Draws what was shown and whether it was played: adds shown (from 1), propensity and reward."""
    below = F.transform(
        "logged",
        lambda _, index: F.aggregate(F.slice("logged", 1, index + 1), F.lit(0.0), lambda sum_, each: sum_ + each),
    )
    drawn = point(F.col("impression"), F.lit("shown"))
    number = F.least(F.size(F.filter(below, lambda each: each <= drawn)) + 1, F.size("logged"))
    played = point(F.col("impression"), F.lit("played")) < of_shown(F.col("true_play"))
    return (
        rows.withColumn("shown", number)
        .withColumn("propensity", of_shown(F.col("logged")))
        .withColumn("reward", played.cast("double"))
    )


def _with_q(rows: DataFrame, *by: str) -> DataFrame:
    """Adds q, cross-fitted in two folds of users: the play rate of the other fold by thirds of appeal and of taste.

    Six hundred logistic regressions would take an hour; an estimator does not ask where q̂ comes from.
    """

    def third(value: Column) -> Column:
        return F.when(value < -0.43, 0).when(value < 0.43, 1).otherwise(2)

    cells = F.zip_with("appeal", "taste", lambda appeal, taste: 3 * third(appeal) + third(taste))
    rows = rows.withColumn("cells", cells).withColumn("fold", F.pmod(F.xxhash64("user_id"), F.lit(2)).cast("int"))
    rates = (
        rows.groupBy(*by, (1 - F.col("fold")).alias("fold"), of_shown(F.col("cells")).alias("cell"))
        .agg(((F.sum("reward") + 1) / (F.count(F.lit(1)) + 3)).alias("rate"))
        .groupBy(*by, "fold")
        .agg(F.map_from_entries(F.collect_list(F.struct("cell", "rate"))).alias("rates"))
    )
    q = F.transform("cells", lambda cell: F.coalesce(F.try_element_at("rates", cell), F.lit(1 / 3)))
    return rows.join(F.broadcast(rates), [*by, "fold"], how="inner").withColumn("q", q)


def normal(*ids: Column) -> Column:
    """A hash of ids as a draw from the normal distribution (Box and Muller, 1958)."""
    one, two = point(*ids, F.lit("one")), point(*ids, F.lit("two"))
    return F.sqrt(-2 * F.log(1 - one)) * F.cos(2 * math.pi * two)


def sigmoid(logit: Column) -> Column:
    return 1 / (1 + F.exp(-logit))
