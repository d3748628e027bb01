"""Which titles each user is likely to see: from the title recommender, or the top titles by ALS."""

from __future__ import annotations

from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from schemas.settings import Settings
from schemas.tables import WANTED_PAIRS
from spark_jobs.validate import good_artworks, good_candidates, good_history
from spark_jobs.warehouse import Night, bucket

# Settings that the implicit-feedback paper (Hu, Koren and Volinsky, ICDM 2008) and Spark's guide move in.
_RANK = 16
_ITERATIONS = 8
_CONFIDENCE = 10.0
_SEED = 17
# Ids are dealt out within this many hash groups, so that no single task numbers all users.
_GROUPS = 64


def by_user(candidates: DataFrame) -> DataFrame:
    """user_id, title_ids: rows of (user_id, title_id, rank) by user, best rank first."""
    ranked = F.array_sort(F.collect_list(F.struct("rank", "title_id")))
    return candidates.groupBy("user_id").agg(F.transform(ranked, lambda pair: pair["title_id"]).alias("title_ids"))


def numbered(ids: DataFrame, column: str, number: str) -> DataFrame:
    """Each distinct id of `column` with an int of its own, the same for the same ids."""
    group = F.pmod(F.xxhash64(column), F.lit(_GROUPS)).cast("int")
    within = F.row_number().over(Window.partitionBy("_group").orderBy(column)) - 1
    return (
        ids.select(column)
        .distinct()
        .withColumn("_group", group)
        .select(column, (within * _GROUPS + F.col("_group")).alias(number))
    )


def recommended_pairs(history: DataFrame, active_artworks: DataFrame, settings: Settings) -> DataFrame:
    """user_id, title_ids: for each user with history, the titles with an active artwork that ALS puts first.

    Titles that the user has watched may be among them: rows such as "watch again" show artwork too.
    """
    viewed = (
        history.join(active_artworks.select("title_id").distinct(), "title_id", how="left_semi")
        .groupBy("user_id", "title_id")
        .agg(F.max("completion").alias("completion"))
    )
    users = numbered(viewed, "user_id", "user_number")
    titles = numbered(viewed, "title_id", "title_number")
    ratings = viewed.join(users, "user_id", how="inner").join(titles, "title_id", how="inner")
    # Its own default of 10 is as many tasks for every one of its many small stages, whatever the cluster.
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
    # In one order, whatever the shuffle delivered first: sums of floats, and so close ranks, depend on it.
    ordered = ratings.select("user_number", "title_number", "completion").sort("user_number", "title_number")
    top = als.fit(ordered).recommendForAllUsers(settings.titles_per_user)
    return by_user(
        top.select("user_number", F.posexplode("recommendations").alias("rank", "recommended"))
        .select("user_number", "rank", F.col("recommended.title_number").alias("title_number"))
        .join(titles, "title_number", how="inner")
        .join(users, "user_number", how="inner")
    )


def candidates(night: Night) -> None:
    """Write `wanted_pairs`."""
    with night.step("candidates") as counts:
        given = good_candidates(night)
        from_recommender = not given.isEmpty()
        wanted = (
            by_user(given)
            if from_recommender
            else recommended_pairs(good_history(night), good_artworks(night), night.settings)
        )
        buckets = night.warehouse.buckets()
        rows = wanted.withColumn("ds", F.lit(night.ds)).withColumn("bucket", bucket(F.col("user_id"), buckets))
        night.replace(WANTED_PAIRS, rows.repartition(buckets, "bucket").sortWithinPartitions("bucket", "user_id"))
        total = night.tonight(WANTED_PAIRS).agg(F.count("*"), F.sum(F.size("title_ids"))).collect()[0]
        counts.update(users=total[0], pairs=total[1] or 0, from_recommender=int(from_recommender))
