"""The held-out log: which artwork was shown, to whom, with which probability, and whether it was played."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.tables import IMPRESSIONS
from spark_jobs.splits import HELD_OUT, TRAINING

KEY = IMPRESSIONS.key
"""The columns that identify an impression."""


def held_out(examples: DataFrame) -> DataFrame:
    """The rows of `post_training_examples` for evaluating policies: held-out ones with more than one artwork."""
    return _log(examples.where(F.col("split") == HELD_OUT))


def training(examples: DataFrame) -> DataFrame:
    """The rows that the baselines learn from, of users that are not held out."""
    return _log(examples.where(F.col("split") == TRAINING))


def _log(examples: DataFrame) -> DataFrame:
    kept = ("context_key", "watched_genres", "choice_key", "artwork_ids", "shown", "propensity", "history_titles")
    return examples.where(F.size("artwork_ids") > 1).select(*KEY, *kept, F.col("played").cast("double").alias("reward"))


def options_of(log: DataFrame, *kept: str) -> DataFrame:
    """KEY, `kept`, option (its number less 1), artwork_id: one row per eligible artwork of each impression."""
    return log.select(*KEY, *kept, F.posexplode("artwork_ids").alias("option", "artwork_id"))


def shown_of(log: DataFrame, *kept: str) -> DataFrame:
    """KEY, `kept`, artwork_id: the artwork that was shown in each impression."""
    return log.select(*KEY, *kept, of_shown(F.col("artwork_ids")).alias("artwork_id"))


def gathered(options: DataFrame, *names: str) -> DataFrame:
    """KEY and each of `names` as an array over the impression's artworks, in the order of their options."""
    ordered = F.array_sort(F.collect_list(F.struct("option", *names)))
    return (
        options.groupBy(*KEY).agg(ordered.alias("ordered")).select(*KEY, *(F.col("ordered")[n].alias(n) for n in names))
    )


def of_shown(values: Column) -> Column:
    """The value of the shown artwork; null if its number is not one of the options."""
    return F.when(F.col("shown") >= 1, F.get(values, F.col("shown") - 1))


def dot(left: Column, right: Column) -> Column:
    """Dot product of two arrays of the same length."""
    return F.aggregate(F.zip_with(left, right, lambda x, y: x * y), F.lit(0.0), lambda sum_, x: sum_ + x)


def point(*names: Column) -> Column:
    """A hash as a number in [0, 1): its upper 53 bits."""
    return F.shiftrightunsigned(F.xxhash64(*names), 11).cast("double") / float(2**53)
