"""What a traditional recommender knows, in words for the model: the group of viewers that a user is nearest to.

Groups are found once a week, from the `history_days` up to the end of a Sunday. A night uses the latest Sunday up to
its own day, an impression the latest one before its day: an example tells nothing of that day or later, and what the
night before it would have told. To fit ALS for every day would cost a year of impressions 365 fits instead of 53, and
groups found anew every night would change most contexts, and have most pairs scored again, every night. The price: a
user who is new since Sunday has no group yet.

A week's groups are kept in `taste_groups` by whoever needs them first: candidates on a Sunday, from the ALS that it
recommends by, else contexts or examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from pyspark import StorageLevel
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import Normalizer
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from schemas.settings import Settings
from schemas.tables import TASTE_GROUPS
from spark_jobs.factors import Factors, fitted, viewed_pairs
from spark_jobs.inputs import good_artworks, good_history, good_titles
from spark_jobs.prompts import title_lines
from spark_jobs.warehouse import Night

TASTE_GROUP = "taste_group"

# Few, so that each has enough viewers to differ from the others by more than chance.
_GROUPS = 8
# Users, by hash, that groups are found from. Of 16 numbers each they fit one task, whose order repeats exactly.
_SAMPLE = 20_000
_SEED = 17
_GENRES_TOLD, _TITLES_TOLD = 2, 2


def fit_day(day: date) -> date:
    """The Sunday up to whose end the groups of the night `day` know history."""
    return day - timedelta(days=day.isoweekday() % 7)


def taste_groups(night: Night, days: Iterable[date]) -> DataFrame:
    """`taste_groups` with those of the nights `days`; what is not kept yet is made of the night's inputs. A week that
    had no viewings before it has no rows.
    """
    warehouse = night.warehouse
    warehouse.create_missing((TASTE_GROUPS,))
    kept = {row["ds"] for row in warehouse.read(TASTE_GROUPS).select("ds").distinct().collect()}
    for sunday in sorted({fit_day(day) for day in days} - kept):
        then = night.on(sunday)
        viewed = viewed_pairs(good_history(then), good_artworks(then)).persist(StorageLevel.MEMORY_AND_DISK)
        if not viewed.isEmpty():
            keep_groups(then, fitted(viewed))
        viewed.unpersist()
    return warehouse.read(TASTE_GROUPS)


def keep_groups(night: Night, factors: Factors) -> None:
    """Write the groups of `factors`, which know history up to the end of the night's day, a Sunday."""
    night.warehouse.create_missing((TASTE_GROUPS,))
    rows = described_groups(factors, good_titles(night), night.settings).withColumn("ds", F.lit(night.ds))
    night.replace(TASTE_GROUPS, rows.repartition(1).sortWithinPartitions("user_id"))


def described_groups(factors: Factors, titles: DataFrame, settings: Settings) -> DataFrame:
    """user_id, taste_group (the words, null where nothing sets the group apart): each user that has factors."""
    users = user_groups(factors)
    seen = (
        factors.viewed.join(users, "user_id", how="inner")
        .join(title_lines(titles, settings), "title_id", how="inner")
        .select("group", "name", "genres")
    )
    return users.join(F.broadcast(group_words(seen)), "group", how="left").select("user_id", "taste_group")


def user_groups(factors: Factors) -> DataFrame:
    """user_id, group: the nearest of k-means' centers among the directions of user factors. A user without any, or
    with one of zeros, for whom ALS knows nothing, is left out.
    """
    # Rounded, so that the last bits, which depend on how tasks add up, move nobody.
    rounded = F.transform("features", lambda x: F.round(x.cast("double"), 6))
    known = (
        factors.model.userFactors.join(factors.users, F.col("id") == F.col("user_number"), how="inner")
        .select("user_id", rounded.alias("factor"))
        .where(F.exists("factor", lambda x: x != 0))
        .select("user_id", array_to_vector(F.col("factor")).alias("factor"))
    )
    directions = Normalizer(inputCol="factor", outputCol="features").transform(known)
    sample = directions.orderBy(F.xxhash64("user_id"), "user_id").limit(_SAMPLE).coalesce(1)
    # By rows: by blocks, its default, Spark 4.2 breaks off where there are fewer different users than groups.
    means = KMeans(k=_GROUPS, seed=_SEED, predictionCol="group", solver="row").fit(sample)
    return means.transform(directions).select("user_id", "group")


def group_words(seen: DataFrame) -> DataFrame:
    """group, taste_group: `viewers of crime and sci-fi, such as Heat and Alien`, by what sets its viewers apart.

    `seen` is group, name, genres (array): a row for each title that a viewer of the group watched.
    """
    genres = set_apart(seen.select("group", F.explode("genres").alias("item")), _GENRES_TOLD)
    titles = set_apart(seen.select("group", F.col("name").alias("item")), _TITLES_TOLD)
    return titles.join(genres.withColumnRenamed("told", "genres"), "group", how="left").select(
        "group",
        F.coalesce(
            F.concat(F.lit("viewers of "), "genres", F.lit(", such as "), "told"),
            F.concat(F.lit("viewers of titles such as "), "told"),
        ).alias("taste_group"),
    )


def set_apart(seen: DataFrame, most: int) -> DataFrame:
    """group, told: the items (of rows group, item) that a group watches more than all do, `crime and sci-fi`; null
    where there are none. At most so many: those with the largest share · ln(share / share of all), an item's part of
    the Kullback-Leibler divergence of the group from all.
    """
    share = F.col("n") / F.sum("n").over(Window.partitionBy("group"))
    of_all = F.sum("n").over(Window.partitionBy("item")) / F.sum("n").over(Window.partitionBy(F.lit(0)))
    # Rounded, so that a tie in the last bits is broken by name.
    apart = F.round(share * F.ln(share / of_all), 9)
    ranked = F.array_sort(F.collect_list(F.when(F.col("apart") > 0, F.struct(-F.col("apart"), "item"))))
    told = F.transform(F.slice(ranked, 1, most), lambda pair: pair["item"])
    return (
        seen.groupBy("group", "item")
        .agg(F.count(F.lit(1)).alias("n"))
        .withColumn("apart", apart)
        .groupBy("group")
        .agg(F.nullif(F.array_join(told, " and "), F.lit("")).alias("told"))
    )


def with_taste_group(users: DataFrame, night: Night) -> DataFrame:
    """`users` with the group of each as of ds; null for a user without one."""
    groups = taste_groups(night, [night.ds]).where(F.col("ds") == F.lit(fit_day(night.ds)))
    return users.join(groups.select("user_id", TASTE_GROUP), "user_id", how="left")


def with_taste_groups(sample: DataFrame, night: Night) -> DataFrame:
    """`sample` of impressions with the group of each one's user as of the day before it; null with the signal off."""
    if TASTE_GROUP not in night.settings.signals:
        return sample.withColumn(TASTE_GROUP, F.lit(None).cast("string"))
    days = [row["ds"] - timedelta(days=1) for row in sample.select("ds").distinct().collect()]
    groups = taste_groups(night, days).select(F.col("user_id").alias("of"), F.col("ds").alias("sunday"), TASTE_GROUP)
    # One Sunday is among the seven days before any day.
    latest = F.datediff("ds", "sunday").between(1, 7)
    return sample.join(groups, (F.col("user_id") == F.col("of")) & latest, how="left").drop("of", "sunday")
