"""Preference pairs: for an example that was played, the artworks to put below the one that was.

Not shown is not rejected, so the first two kinds are those to train on; `never_shown` is there to be compared.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.preferences import COUNT_LIMIT, NegativeKind
from schemas.tables import IMPRESSIONS

_KEY = IMPRESSIONS.key


def preference_pairs(training: DataFrame, ds: date) -> DataFrame:
    """Rows of `preference_pairs`: of each kind every artwork that is below, weighted by the impressions that say so."""
    played, not_played = training.where("played"), training.where(~F.col("played"))
    kinds: dict[NegativeKind, DataFrame] = {
        "same_user": same_user(played, not_played),
        "like_users": like_users(played, not_played),
        "never_shown": never_shown(played, training),
    }
    rows = [weighted(found).withColumn("negative", F.lit(name)) for name, found in kinds.items()]
    return rows[0].unionByName(rows[1]).unionByName(rows[2]).withColumn("ds", F.lit(ds))


def same_user(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each other artwork that was shown to the same user for the same title and not played."""
    others = not_played.groupBy("user_id", "title_id", F.col("artwork_id").alias("other")).agg(_counts())
    return _eligible(played.join(others, ["user_id", "title_id"], how="inner"))


def like_users(played: DataFrame, not_played: DataFrame) -> DataFrame:
    """Each other artwork of the title that was shown to a user with the same leading theme and not played.

    Played ones come by policy × P(play), these by policy × (1 − P(play)). Each side counts 1 / propensity (the played
    one in training/data.py), so that what is learned from both are the odds of a play, and the logging policy falls
    out, though it be personal. With one side counted so and the other not, it would not.
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
    """What impressions of one artwork count together: added up before they are joined, or one user's many for a title
    would meet each of the many that were played.
    """
    return F.sum(F.least(1 / F.col("propensity"), F.lit(COUNT_LIMIT))).alias("counts")


def _eligible(found: DataFrame) -> DataFrame:
    """The pairs whose other artwork is an option of the example; it may be the very one that was played."""
    number = F.array_position("artwork_ids", F.col("other")).cast("int")
    pairs = found.select(*_KEY, F.col("shown").alias("chosen"), number.alias("rejected"), "counts")
    return pairs.where(F.col("rejected") > 0)


def weighted(pairs: DataFrame) -> DataFrame:
    """Each pair of two artworks once, with weight: its share of its example's rows. All together teach what a random
    row of the example would, with less noise.

    A row whose other artwork is the played one says nothing, but counts in the share. Without it, (a above b) would
    weigh P(a) (1 − P(b)) / Σ (1 − P) over all artworks but a, and so gain by how much of the sum is a's.
    """
    of_example = Window.partitionBy(*_KEY)
    return (
        pairs.groupBy(*_KEY, "chosen", "rejected")
        .agg(F.sum("counts").alias("counts"))
        .withColumn("weight", F.col("counts") / F.sum("counts").over(of_example))
        .where(F.col("rejected") != F.col("chosen"))
        .drop("counts")
    )
