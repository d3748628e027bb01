"""The titles that each user is likely to see: those of the title recommender, or else the top titles by ALS."""

from __future__ import annotations

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.events import report
from schemas.settings import Settings
from schemas.tables import WANTED_PAIRS
from spark_jobs.factors import Factors, fitted, viewed_pairs
from spark_jobs.inputs import good_artworks, good_candidates, good_history
from spark_jobs.taste import TASTE_GROUP, fit_day, keep_groups
from spark_jobs.warehouse import Night, bucket


def by_user(candidates: DataFrame) -> DataFrame:
    """user_id, title_ids: rows of (user_id, title_id, rank) grouped by user, best rank first."""
    ranked = F.array_sort(F.collect_list(F.struct("rank", "title_id")))
    return candidates.groupBy("user_id").agg(F.transform(ranked, lambda pair: pair["title_id"]).alias("title_ids"))


def recommended_pairs(factors: Factors, settings: Settings) -> DataFrame:
    """user_id, title_ids: for each user with history, ALS's top titles among those with an active artwork.

    They may include titles that the user has watched: rows such as "watch again" show artwork too.
    """
    top = factors.model.recommendForAllUsers(settings.titles_per_user)
    return by_user(
        top.select("user_number", F.posexplode("recommendations").alias("rank", "recommended"))
        .select("user_number", "rank", F.col("recommended.title_number").alias("title_number"))
        .join(factors.titles, "title_number", how="inner")
        .join(factors.users, "user_number", how="inner")
    )


def recommended(night: Night) -> DataFrame:
    """`recommended_pairs` of the night's history; none if nobody has watched a title with an active artwork. If taste
    groups are due, they are made from the same fit.
    """
    viewed = viewed_pairs(good_history(night), good_artworks(night)).persist(StorageLevel.MEMORY_AND_DISK)
    if viewed.isEmpty():
        report("candidates", "nobody has watched a title with an active artwork, so ALS can recommend none")
        return night.warehouse.frame(WANTED_PAIRS, []).select("user_id", "title_ids")
    factors = fitted(viewed)
    if TASTE_GROUP in night.settings.signals and fit_day(night.ds) == night.ds:
        keep_groups(night, factors)
    return recommended_pairs(factors, night.settings)


def candidates(night: Night) -> None:
    """Write `wanted_pairs`."""
    with night.step("candidates") as counts:
        given = good_candidates(night)
        from_recommender = not given.isEmpty()
        wanted = by_user(given) if from_recommender else recommended(night)
        buckets = night.warehouse.buckets()
        rows = wanted.select(
            F.lit(night.ds).alias("ds"), bucket(F.col("user_id"), buckets).alias("bucket"), "user_id", "title_ids"
        ).persist(StorageLevel.MEMORY_AND_DISK)
        total = rows.agg(F.count("*"), F.sum(F.size("title_ids"))).collect()[0]
        night.replace(WANTED_PAIRS, rows.repartition(buckets, "bucket").sortWithinPartitions("bucket", "user_id"))
        counts.update(users=total[0], pairs=total[1] or 0, from_recommender=int(from_recommender))
