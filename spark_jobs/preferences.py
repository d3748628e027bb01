"""Preference pairs: for an example that was played, an artwork to put below the one that was.

Not shown is not rejected, so the first two kinds are those to train on; `never_shown` is there to be compared.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

SAME_USER, LIKE_USERS, NEVER_SHOWN = "same_user", "like_users", "never_shown"

_KEY = ("user_id", "title_id", "shown_at")


def preference_pairs(training: DataFrame, ds: date) -> DataFrame:
    """Rows of `preference_pairs`: of each kind at most one for each played example, picked by hash."""
    played, not_played = training.where("played"), training.where(~F.col("played"))
    kinds = {
        SAME_USER: same_user(played, not_played),
        LIKE_USERS: like_users(played, not_played),
        NEVER_SHOWN: never_shown(played, training),
    }
    rows = [_one_each(found).withColumn("negative", F.lit(name)) for name, found in kinds.items()]
    pairs = rows[0].unionByName(rows[1]).unionByName(rows[2])
    # An artwork that is below for two reasons is told once, by the first.
    first = F.min_by("negative", F.array_position(F.array(*map(F.lit, kinds)), F.col("negative"))).alias("negative")
    return pairs.groupBy(*_KEY, "chosen", "rejected").agg(first).withColumn("ds", F.lit(ds))


def same_user(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each other artwork that was shown to the same user for the same title and not played."""
    others = not_played.select("user_id", "title_id", F.col("artwork_id").alias("other"), _witness())
    return _eligible(played.join(others, ["user_id", "title_id"], how="inner"))


def like_users(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each other artwork of the title that was shown to a user with the same leading theme and not played.

    Whatever its propensity: played ones come by policy × P(play), these by policy × (1 − P(play)), so that what is
    learned from both are the odds of a play, and the logging policy falls out. Taken only where that policy explored,
    they would teach that what it likes is better.
    """
    leading = F.get("themes", F.lit(0)).alias("theme")
    others = not_played.select(
        "title_id", leading, F.col("artwork_id").alias("other"), F.col("user_id").alias("by"), _witness()
    )
    found = played.withColumn("theme", F.get("themes", F.lit(0))).join(others, ["title_id", "theme"], how="inner")
    return _eligible(found.where(F.col("by") != F.col("user_id")))


def never_shown(played: DataFrame, training: DataFrame) -> DataFrame:
    """Each eligible artwork that the user was not shown for the title."""
    shown = training.groupBy("user_id", "title_id").agg(F.collect_set("artwork_id").alias("seen"))
    found = played.join(shown, ["user_id", "title_id"], how="inner")
    other = F.explode(F.array_except("artwork_ids", "seen"))
    return _eligible(found.withColumn("other", other).withColumn("witness", F.lit(0)))


def _witness() -> Column:
    """Names the impression that tells of an artwork. One left unplayed by several users has as many chances."""
    return F.xxhash64("user_id", "shown_at").alias("witness")


def _eligible(found: DataFrame) -> DataFrame:
    """The pairs whose other artwork is an option of the example, and not the one that was played."""
    number = F.array_position("artwork_ids", F.col("other")).cast("int")
    pairs = found.select(*_KEY, F.col("shown").alias("chosen"), number.alias("rejected"), "witness")
    return pairs.where((F.col("rejected") > 0) & (F.col("rejected") != F.col("chosen")))


def _one_each(pairs: DataFrame) -> DataFrame:
    place = F.xxhash64(*_KEY, "rejected", "witness")
    return pairs.groupBy(*_KEY, "chosen").agg(F.min_by("rejected", place).alias("rejected"))
