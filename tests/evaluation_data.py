"""Logs for the evaluation's tests: literal ones, and simulated ones that can be broken."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.estimators import estimates, user_sums
from evaluation.policies import policy_rows
from evaluation.simulated_logs import TARGETS, simulated_log

Impression = tuple[str, list[float], int, float, float]
"""user_id, target, shown (from 1), propensity, reward."""


def log_of(spark: SparkSession, impressions: list[Impression]) -> DataFrame:
    """The impressions with a q̂ of 0.5 for every artwork."""
    rows = [
        (user, [f"a{number}" for number in range(len(target))], shown, propensity, reward, target, [0.5] * len(target))
        for user, target, shown, propensity, reward in impressions
    ]
    return spark.createDataFrame(
        rows,
        "user_id string, artwork_ids array<string>, shown int, propensity double, reward double, "
        "target array<double>, q array<double>",
    )


def simulated(spark: SparkSession, size: int = 2000, seed: int = 1) -> DataFrame:
    """One simulated log."""
    return spark.createDataFrame(simulated_log(size, 0, seed)).localCheckpoint()


def simulated_rows(log: DataFrame, **changed: Column) -> DataFrame:
    """The estimators' rows of a log, after changing columns of it."""
    return policy_rows(log.withColumns(changed), TARGETS)


def one_hot(number: Column) -> Column:
    """The target that shows option `number`, from 1."""
    return F.transform("artwork_ids", lambda _, place: (place == number - 1).cast("double"))


def estimated(rows: DataFrame, reference: str) -> dict[tuple[str, str], Any]:
    """Estimates by (policy, estimator)."""
    found = estimates(user_sums(rows, ["policy"]).persist(), ["policy"], reference).collect()
    return {(row["policy"], row["estimator"]): row for row in found}
