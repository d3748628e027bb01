"""Users and titles as vectors, by ALS: for recommending candidates and for finding taste groups."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

# Values in the range of the implicit-feedback paper (Hu, Koren and Volinsky, ICDM 2008) and Spark's guide.
_RANK = 16
_ITERATIONS = 8
_CONFIDENCE = 10.0
# Starting a title shows some interest, even if the user left at once, and ALS may fail on a user with only zeros.
_LEAST_COMPLETION = 0.01
_SEED = 17
# Ids are numbered within this many hash groups, so that no single task numbers all users.
_GROUPS = 64


@dataclass(frozen=True)
class Factors:
    """`model`, fitted on the pairs `viewed`, and its numbers for ids: `users` (user_id, user_number) and `titles`
    (title_id, title_number).
    """

    viewed: DataFrame
    model: ALSModel
    users: DataFrame
    titles: DataFrame


def numbered(ids: DataFrame, column: str, number: str) -> DataFrame:
    """Each distinct id of `column` with its own int; the same ids get the same ints."""
    group = F.pmod(F.xxhash64(column), F.lit(_GROUPS)).cast("int")
    within = F.row_number().over(Window.partitionBy("_group").orderBy(column)) - 1
    return (
        ids.select(column)
        .distinct()
        .withColumn("_group", group)
        .select(column, (within * _GROUPS + F.col("_group")).alias(number))
    )


def viewed_pairs(history: DataFrame, active_artworks: DataFrame) -> DataFrame:
    """user_id, title_id, completion (the highest): each user's viewings of titles with an active artwork."""
    return (
        history.join(active_artworks.select("title_id").distinct(), "title_id", how="left_semi")
        .groupBy("user_id", "title_id")
        .agg(F.max("completion").alias("completion"))
    )


def fitted(viewed: DataFrame) -> Factors:
    """The factors of `viewed_pairs`, which must not be empty."""
    users = numbered(viewed, "user_id", "user_number")
    titles = numbered(viewed, "title_id", "title_number")
    completion = F.greatest("completion", F.lit(_LEAST_COMPLETION)).alias("completion")
    ratings = viewed.join(users, "user_id", how="inner").join(titles, "title_id", how="inner")
    # With its default of 10, ALS runs 10 tasks in each of its many small stages, whatever the cluster.
    blocks = viewed.sparkSession.sparkContext.defaultParallelism
    als = ALS(
        rank=_RANK,
        maxIter=_ITERATIONS,
        implicitPrefs=True,
        alpha=_CONFIDENCE,
        seed=_SEED,
        userCol="user_number",
        itemCol="title_number",
        ratingCol="completion",
        numUserBlocks=blocks,
        numItemBlocks=blocks,
    )
    # Sorted, because sums of floats, and so close ranks, depend on the row order, which varies after a shuffle.
    ordered = ratings.select("user_number", "title_number", completion).sort("user_number", "title_number")
    return Factors(viewed, als.fit(ordered), users, titles)
