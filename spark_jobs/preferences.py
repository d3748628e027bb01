"""Preference pairs: for an example that was played, the artworks to rank below the played one.

Not shown is not rejected, so the first two kinds are for training; `never_shown` is for comparison.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.preferences import COUNT_LIMIT, NegativeKind
from schemas.tables import IMPRESSIONS

_KEY = IMPRESSIONS.key


def preference_pairs(training: DataFrame, ds: date) -> DataFrame:
    """Rows of `preference_pairs`: for each kind every artwork ranked below, weighted by its impressions."""
    played, not_played = training.where("played"), training.where(~F.col("played"))
    kinds: dict[NegativeKind, DataFrame] = {
        "same_user": same_user(played, not_played),
        "like_users": like_users(played, not_played),
        "never_shown": never_shown(played, training),
    }
    rows = [weighted(found).withColumn("negative", F.lit(name)) for name, found in kinds.items()]
    return rows[0].unionByName(rows[1]).unionByName(rows[2]).withColumn("ds", F.lit(ds))


def same_user(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each artwork that the same user was shown for the same title and did not play."""
    others = not_played.groupBy("user_id", "title_id", F.col("artwork_id").alias("other")).agg(_counts())
    return _eligible(played.join(others, ["user_id", "title_id"], how="inner"))


def like_users(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each artwork of the title that another user with the same leading theme was shown and did not play.

    A play is logged with probability policy × P(play), these with policy × (1 − P(play)). Both sides count
    1 / propensity (plays in training/data.py), so the logging policy cancels out, even a personal one, and training
    learns the odds of a play. If only one side counted so, the policy would not cancel out.
    """
    leading = F.get("themes", F.lit(0)).alias("theme")
    others = not_played.groupBy(
        "title_id", leading, F.col("artwork_id").alias("other"), F.col("user_id").alias("by")
    ).agg(_counts())
    found = played.withColumn("theme", F.get("themes", F.lit(0))).join(others, ["title_id", "theme"], how="inner")
    return _eligible(found.where(F.col("by") != F.col("user_id")))


def never_shown(played: DataFrame, training: DataFrame) -> DataFrame:
    """Each eligible artwork that the user was not shown for the title."""
    shown = training.groupBy("user_id", "title_id").agg(F.collect_set("artwork_id").alias("seen"))
    found = played.join(shown, ["user_id", "title_id"], how="inner")
    other = F.explode(F.array_except("artwork_ids", "seen"))
    return _eligible(found.withColumn("other", other).withColumn("counts", F.lit(1.0)))


def _counts() -> Column:
    """The summed weight of the impressions of one artwork. The sum comes before the join, or each of a user's many
    impressions of a title would join each of the many plays.
    """
    return F.sum(F.least(1 / F.col("propensity"), F.lit(COUNT_LIMIT))).alias("counts")


def _eligible(found: DataFrame) -> DataFrame:
    """The pairs whose other artwork is an option of the example; it may be the played one itself."""
    number = F.array_position("artwork_ids", F.col("other")).cast("int")
    pairs = found.select(*_KEY, F.col("shown").alias("chosen"), number.alias("rejected"), "counts")
    return pairs.where(F.col("rejected") > 0)


def weighted(pairs: DataFrame) -> DataFrame:
    """Each pair of two different artworks once, with weight: its share of its example's rows. Training on all of them
    equals training on a random row of the example, with less noise.

    A row whose other artwork is the played one teaches nothing, but counts in the share. Without it, (a above b) would
    weigh P(a) (1 − P(b)) / Σ (1 − P) over all artworks but a, and so grow with a's part of the whole sum.
    """
    of_example = Window.partitionBy(*_KEY)
    return (
        pairs.groupBy(*_KEY, "chosen", "rejected")
        .agg(F.sum("counts").alias("counts"))
        .withColumn("weight", F.col("counts") / F.sum("counts").over(of_example))
        .where(F.col("rejected") != F.col("chosen"))
        .drop("counts")
    )
