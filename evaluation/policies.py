"""The policies to compare, each as its target: a distribution over the artworks of every impression of the log.

A target is an array of probabilities over `artwork_ids`. All but the random policy are greedy, for a fair comparison:
each shows its best artwork, ties by id.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from evaluation.log import dot, of_shown
from spark_jobs.policy import ranked

LOGGING = "logging"
BASELINES = ("random", "most_popular", "bandit")


def greedy(scores: Column) -> Column:
    """1 for the artwork with the largest score, 0 for the others."""
    artwork_ids = F.col("artwork_ids")
    options = F.zip_with(
        artwork_ids, scores, lambda artwork, score: F.struct(artwork.alias("artwork_id"), score.alias("probability"))
    )
    best = ranked(options)[0]["artwork_id"]

    def target(chosen: Column) -> Column:
        return F.transform(artwork_ids, lambda artwork: (artwork == chosen).cast("double"))

    # Passed as an array element: inside the lambda, Spark would compute it again for each artwork.
    return F.transform(F.array(best), target)[0]


def uniform() -> Column:
    """1 / K for each of K artworks."""
    share = 1 / F.size("artwork_ids")
    return F.transform("artwork_ids", lambda _: share)


def policy_rows(log: DataFrame, targets: Mapping[str, str], *kept: str) -> DataFrame:
    """The rows for evaluation/estimators.py, one per impression and policy: `policy`, `kept` and the rest.

    `log` has user_id, artwork_ids, shown, propensity, reward, q, a target column for each policy in `targets` and, on a
    sample, true_play; q and true_play are arrays over artwork_ids.
    """
    known = "true_play" in log.columns
    sides = {LOGGING: _logging_side(known)} | {name: _side(F.col(column), known) for name, column in targets.items()}
    each = [F.struct(F.lit(name).alias("policy"), side.alias("target")) for name, side in sides.items()]
    valid = (F.col("propensity") > 0) & (F.col("propensity") <= 1)
    uniform_weight = F.when(valid & (F.col("policy") != LOGGING), 1 / (F.col("options") * F.col("propensity")))
    return log.select(
        *kept,
        "user_id",
        F.size("artwork_ids").alias("options"),
        "propensity",
        "reward",
        F.coalesce(F.col("shown").between(1, F.size("artwork_ids")), F.lit(False)).alias("eligible"),
        of_shown(F.col("q")).alias("q_shown"),
        F.inline(F.array(*each)),
    ).withColumn("uniform_weight", uniform_weight)


def _side(target: Column, known: bool) -> Column:
    agrees = of_shown(target)
    # An invalid propensity gives a null weight; the diagnostics refuse such a log.
    valid = (F.col("propensity") > 0) & (F.col("propensity") <= 1)
    fields = [
        agrees.alias("agrees"),
        F.when(valid, agrees / F.col("propensity")).alias("weight"),
        dot(target, F.col("q")).alias("q"),
    ]
    return F.struct(*fields, *([dot(target, F.col("true_play")).alias("truth")] if known else []))


def _logging_side(known: bool) -> Column:
    """The logging policy's side. The log has one draw per impression, not the distribution: it counts with weight 1."""
    fields = [F.lit(1.0).alias("agrees"), F.lit(1.0).alias("weight"), of_shown(F.col("q")).alias("q")]
    return F.struct(*fields, *([of_shown(F.col("true_play")).alias("truth")] if known else []))
