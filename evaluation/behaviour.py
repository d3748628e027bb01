"""A model's behaviour, whatever its value: probabilities by option number, and play rates by probability."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from evaluation.log import of_shown
from evaluation.models import probabilities_of

MOST_OPTIONS = 12
"""Number of option numbers in the result; few questions have more."""
BANDS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Upper ends of the bands of `times_even`."""


def positions(scores: DataFrame) -> DataFrame:
    """option, probability, even, questions: per option number in the prompt, the model's mean probability and the mean
    of 1 / K over the same questions. For a model without a preference for numbers the two are equal.
    """
    each = scores.select(F.size("artwork_ids").alias("options"), F.posexplode("probabilities").alias("place", "p"))
    return (
        each.where(F.col("place") < MOST_OPTIONS)
        .groupBy((F.col("place") + 1).alias("option"))
        .agg(
            F.avg("p").alias("probability"),
            F.avg(1 / F.col("options")).alias("even"),
            F.count(F.lit(1)).alias("questions"),
        )
        .orderBy("option")
    )


def play_rate_by_probability(log: DataFrame, scores: DataFrame) -> DataFrame:
    """band, times_even, play_rate, impressions: play rates of the shown artworks, by the model's probability.

    A question's probabilities sum to 1, so 0.2 is much among 40 options and little among 2: `times_even` is K times the
    probability. Impressions weigh 1 / (K p), as if all artworks had been shown equally often.
    """
    band = F.lit(len(BANDS))
    for number, end in reversed(list(enumerate(BANDS))):
        band = F.when(F.col("times_even") < end, number).otherwise(band)
    weight = 1 / (F.size("artwork_ids") * F.col("propensity"))
    return (
        probabilities_of(log, scores)
        .withColumn("times_even", F.size("artwork_ids") * of_shown(F.col("probabilities")))
        .groupBy(band.alias("band"))
        .agg(
            F.avg("times_even").alias("times_even"),
            (F.sum(weight * F.col("reward")) / F.sum(weight)).alias("play_rate"),
            F.count(F.lit(1)).alias("impressions"),
        )
        .orderBy("band")
    )
