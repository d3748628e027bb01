"""How often artworks are played: one estimate, for title defaults, the signal `play_rate`, and evaluations.

A rate is shrunk towards its prior: an artwork's towards its title's rate, a title's towards the overall rate. Only the
first impression of a draw counts (`first_of_draws`): a draw shows its artwork again because it was not played.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

ARTWORK_SPREAD, TITLE_SPREAD = 0.45, 1.0
"""Expected deviation of a title's artworks, and of titles, from their mean, in log-odds."""


def counted(impressions: DataFrame, *by: Column) -> DataFrame:
    """title_id, artwork_id, the columns `by`, shown, plays: impressions and plays, counted by these columns."""
    return impressions.groupBy("title_id", "artwork_id", *by).agg(
        F.count(F.lit(1)).alias("shown"), F.sum(F.col("played").cast("long")).alias("plays")
    )


def play_rates(counts: DataFrame, artworks: DataFrame) -> DataFrame:
    """title_id, artwork_id, play_rate: a rate for each of `artworks`, from how often it was shown and played."""
    shown, plays = (F.coalesce(F.sum(name), F.lit(0)) for name in ("shown", "plays"))
    overall = counts.agg(overall_rate(plays, shown).alias("overall"))
    titles = counts.groupBy("title_id").agg(plays.alias("title_plays"), shown.alias("title_shown"))
    own = counts.select("title_id", "artwork_id", F.col("plays").alias("own_plays"), F.col("shown").alias("own_shown"))
    return (
        artworks.select("title_id", "artwork_id")
        .join(titles, "title_id", how="left")
        # An artwork may also have been logged under another title.
        .join(own, ["title_id", "artwork_id"], how="left")
        .fillna(0, ["title_plays", "title_shown", "own_plays", "own_shown"])
        .crossJoin(F.broadcast(overall))
        .transform(with_rates)
        .select("title_id", "artwork_id", F.col("rate").alias("play_rate"))
    )


def overall_rate(plays: Column, shown: Column) -> Column:
    """The overall rate: never 0 or 1, and a half if nothing was shown."""
    return (plays + 1) / (shown + 2)


def with_rates(counts: DataFrame) -> DataFrame:
    """`counts` (own_plays, own_shown, title_plays, title_shown, overall) with title_rate and the artwork's `rate`."""
    return counts.withColumn(
        "title_rate", _drawn_to_prior("title_plays", "title_shown", "overall", TITLE_SPREAD)
    ).withColumn("rate", _drawn_to_prior("own_plays", "own_shown", "title_rate", ARTWORK_SPREAD))


def _drawn_to_prior(plays: str, shown: str, prior: str, spread: float) -> Column:
    """The rate (plays + m · prior) / (shown + m), m = 1 / (spread² prior (1 − prior)); 0 < `prior` < 1.

    m is the weight, in impressions, of a normal prior with deviation `spread` in log-odds: for artworks 20 if half are
    played, 104 if a twentieth are.
    """
    weight = 1 / (spread**2 * F.col(prior) * (1 - F.col(prior)))
    return (F.col(plays) + weight * F.col(prior)) / (F.col(shown) + weight)
