"""Intervals by resampling users, as a check on those of evaluation/estimators.py."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from evaluation.log import point

REPLICATES = 200
_MOST = 8  # the probability that a user is drawn more often is 1e-6


def bootstrap(compared: DataFrame, by: Sequence[str], replicates: int = REPLICATES) -> DataFrame:
    """`by`, estimator, low, high, difference_low, difference_high: 2.5 % and 97.5 % points, from rows of `paired`.

    In each replicate a user counts Poisson(1) times (Chamandy et al., 2012), by a hash of user and replicate, which
    needs no state and repeats exactly. Both sums of a ratio are computed anew in each replicate.
    """
    times = poisson(point(F.col("user_id"), F.col("replicate")))
    drawn = (
        compared.withColumn("replicate", F.explode(F.sequence(F.lit(1), F.lit(replicates))))
        .withColumn("times", times)
        .where(F.col("times") > 0)
        .groupBy(*by, "estimator", "replicate")
        .agg(*(F.sum(F.col("times") * F.col(name)).alias(name) for name in ("a", "b", "c", "d")))
    )
    value = F.col("a") / F.nullif(F.col("b"), F.lit(0.0))
    difference = value - F.col("c") / F.nullif(F.col("d"), F.lit(0.0))
    return drawn.groupBy(*by, "estimator").agg(
        F.percentile(value, F.lit(0.025)).alias("low"),
        F.percentile(value, F.lit(0.975)).alias("high"),
        F.percentile(difference, F.lit(0.025)).alias("difference_low"),
        F.percentile(difference, F.lit(0.975)).alias("difference_high"),
    )


def poisson(at: Column) -> Column:
    """The Poisson(1) quantile at `at`."""
    steps, below = [], 0.0
    for count in range(_MOST):
        below += math.exp(-1) / math.factorial(count)
        steps.append(F.when(at >= below, 1).otherwise(0))
    return sum(steps[1:], steps[0])
