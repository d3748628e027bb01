"""Preference pairs: for an example that was played, the artworks to put below the one that was.

Not shown is not rejected, so the first two kinds are those to train on; `never_shown` is there to be compared.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

SAME_USER, LIKE_USERS, NEVER_SHOWN = "same_user", "like_users", "never_shown"

_KEY = ("user_id", "title_id", "shown_at")


def preference_pairs(training: DataFrame, ds: date) -> DataFrame:
    """Rows of `preference_pairs`: of each kind every artwork that is below, weighted by how many impressions say so."""
    played, not_played = training.where("played"), training.where(~F.col("played"))
    kinds = {
        SAME_USER: same_user(played, not_played),
        LIKE_USERS: like_users(played, not_played),
        NEVER_SHOWN: never_shown(played, training),
    }
    rows = [weighted(found).withColumn("negative", F.lit(name)) for name, found in kinds.items()]
    return rows[0].unionByName(rows[1]).unionByName(rows[2]).withColumn("ds", F.lit(ds))


def same_user(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each other artwork that was shown to the same user for the same title and not played."""
    others = not_played.select("user_id", "title_id", F.col("artwork_id").alias("other"))
    return _eligible(played.join(others, ["user_id", "title_id"], how="inner"))


def like_users(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each other artwork of the title that was shown to a user with the same leading theme and not played.

    Whatever its propensity: played ones come by policy × P(play), these by policy × (1 − P(play)), so that what is
    learned from both are the odds of a play, and the logging policy falls out. Taken only where that policy explored,
    they would teach that what it likes is better. So would shares of all but the played artwork's own impressions: see
    `weighted`.
    """
    leading = F.get("themes", F.lit(0)).alias("theme")
    others = not_played.select("title_id", leading, F.col("artwork_id").alias("other"), F.col("user_id").alias("by"))
    found = played.withColumn("theme", F.get("themes", F.lit(0))).join(others, ["title_id", "theme"], how="inner")
    return _eligible(found.where(F.col("by") != F.col("user_id")))


def never_shown(played: DataFrame, training: DataFrame) -> DataFrame:
    """Each eligible artwork that the user was not shown for the title."""
    shown = training.groupBy("user_id", "title_id").agg(F.collect_set("artwork_id").alias("seen"))
    found = played.join(shown, ["user_id", "title_id"], how="inner")
    other = F.explode(F.array_except("artwork_ids", "seen"))
    return _eligible(found.withColumn("other", other))


def _eligible(found: DataFrame) -> DataFrame:
    """The pairs whose other artwork is an option of the example; it may be the very one that was played."""
    number = F.array_position("artwork_ids", F.col("other")).cast("int")
    return found.select(*_KEY, F.col("shown").alias("chosen"), number.alias("rejected")).where(F.col("rejected") > 0)


def weighted(pairs: DataFrame) -> DataFrame:
    """Each pair of two artworks once, with weight: its share of its example's rows. All together teach what a random
    row of the example would, with less noise.

    A row whose other artwork is the played one says nothing, but counts in the share. Without it, (a above b) would
    weigh π(a) P(a) π(b) (1 − P(b)) / (1 − π(a) (1 − P(a)) / Σ π (1 − P)), and what the logging policy showed often
    would win for that alone.
    """
    of_example = Window.partitionBy(*_KEY)
    return (
        pairs.groupBy(*_KEY, "chosen", "rejected")
        .count()
        .withColumn("weight", F.col("count") / F.sum("count").over(of_example))
        .where(F.col("rejected") != F.col("chosen"))
        .drop("count")
    )
