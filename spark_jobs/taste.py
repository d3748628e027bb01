"""What a traditional recommender knows, in words for the model: the group of viewers that a user is nearest to.

Groups are fitted once a week, from the `history_days` up to the end of a Sunday. A night uses the latest Sunday up to
its own day, an impression the latest one before its day: an example knows nothing of that day or later, and knows what
the night before it would have used. Fitting ALS for every day would take 365 fits instead of 53 for a year of
impressions, and new groups every night would change most contexts, so that most pairs would be scored again every
night. The price: a user who is new since Sunday has no group yet.

The first step that needs a week's groups writes them to `taste_groups`: candidates on a Sunday, from the ALS fit that
it recommends with; otherwise contexts or examples.
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

# Few, so that each group has enough viewers to differ from the others by more than chance.
_GROUPS = 8
# Users, chosen by hash, that k-means is fitted on. With 16 numbers each they fit one task, whose order is repeatable.
_SAMPLE = 20_000
_SEED = 17
_GENRES_TOLD, _TITLES_TOLD = 2, 2


def fit_day(day: date) -> date:
    """The Sunday whose groups the night `day` uses: they are fitted on history up to its end."""
    return day - timedelta(days=day.isoweekday() % 7)


def taste_groups(night: Night, days: Iterable[date]) -> DataFrame:
    """`taste_groups`, with the groups of the nights `days`; missing ones are made from the night's inputs. A week
    without viewings before it has no rows.
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
    """Write the groups of `factors`, fitted on history up to the end of the night's day, a Sunday."""
    night.warehouse.create_missing((TASTE_GROUPS,))
    rows = described_groups(factors, good_titles(night), night.settings).withColumn("ds", F.lit(night.ds))
    night.replace(TASTE_GROUPS, rows.repartition(1).sortWithinPartitions("user_id"))


def described_groups(factors: Factors, titles: DataFrame, settings: Settings) -> DataFrame:
    """user_id, taste_group (the words; null if nothing sets the group apart): each user with factors."""
    users = user_groups(factors)
    seen = (
        factors.viewed.join(users, "user_id", how="inner")
        .join(title_lines(titles, settings), "title_id", how="inner")
        .select("group", "name", "genres")
    )
    return users.join(F.broadcast(group_words(seen)), "group", how="left").select("user_id", "taste_group")


def user_groups(factors: Factors) -> DataFrame:
    """user_id, group: the k-means center nearest to the direction of the user's factors. A user without factors, or
    with zeros only, of whom ALS knows nothing, is left out.
    """
    # Rounded, so that the last bits, which depend on the order of additions, move nobody.
    rounded = F.transform("features", lambda x: F.round(x.cast("double"), 6))
    known = (
        factors.model.userFactors.join(factors.users, F.col("id") == F.col("user_number"), how="inner")
        .select("user_id", rounded.alias("factor"))
        .where(F.exists("factor", lambda x: x != 0))
        .select("user_id", array_to_vector(F.col("factor")).alias("factor"))
    )
    directions = Normalizer(inputCol="factor", outputCol="features").transform(known)
    sample = directions.orderBy(F.xxhash64("user_id"), "user_id").limit(_SAMPLE).coalesce(1)
    # Solver "row": with its default, by blocks, Spark 4.2 fails if there are fewer distinct users than groups.
    means = KMeans(k=_GROUPS, seed=_SEED, predictionCol="group", solver="row").fit(sample)
    return means.transform(directions).select("user_id", "group")


def group_words(seen: DataFrame) -> DataFrame:
    """group, taste_group: `viewers of crime and sci-fi, such as Heat and Alien`, from what sets its viewers apart.

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
    """group, told: the items (of rows group, item) that a group watches more than all users do, `crime and sci-fi`;
    null if there are none. At most `most` items: those with the largest share · ln(share / share of all), an item's
    part of the Kullback-Leibler divergence of the group from all users.
    """
    share = F.col("n") / F.sum("n").over(Window.partitionBy("group"))
    of_all = F.sum("n").over(Window.partitionBy("item")) / F.sum("n").over(Window.partitionBy(F.lit(0)))
    # Rounded, so that items that differ only in the last bits are ordered by name.
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
    """`users` with each one's group as of ds; null for a user without one."""
    groups = taste_groups(night, [night.ds]).where(F.col("ds") == F.lit(fit_day(night.ds)))
    return users.join(groups.select("user_id", TASTE_GROUP), "user_id", how="left")


def with_taste_groups(sample: DataFrame, night: Night) -> DataFrame:
    """`sample` of impressions with their users' groups as of the day before each; null with the signal off."""
    if TASTE_GROUP not in night.settings.signals:
        return sample.withColumn(TASTE_GROUP, F.lit(None).cast("string"))
    days = [row["ds"] - timedelta(days=1) for row in sample.select("ds").distinct().collect()]
    groups = taste_groups(night, days).select(F.col("user_id").alias("of"), F.col("ds").alias("sunday"), TASTE_GROUP)
    # The seven days before a day include exactly one Sunday.
    latest = F.datediff("ds", "sunday").between(1, 7)
    return sample.join(groups, (F.col("user_id") == F.col("of")) & latest, how="left").drop("of", "sunday")
