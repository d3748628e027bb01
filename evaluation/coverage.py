"""Estimators against a known truth: bias, error and coverage of their 95 % intervals over simulated logs of several
sizes. They estimate the policy `personal` and its difference to `popular` (evaluation/simulated_logs.py). The truth is
the mean true play probability of the artworks that a policy shows, over the impressions of all logs. 200 logs measure a
coverage of 95 % to ± 3 % (two standard errors).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from evaluation.estimators import ESTIMATORS, estimates, paired, truth, user_sums
from evaluation.policies import policy_rows
from evaluation.simulated_logs import TARGETS, simulated_log
from spark_jobs.session import spark_session

EVALUATED, REFERENCE = "personal", "popular"
_GROUP = ("size", "log", "policy")


def write_logs(folder: Path, sizes: list[int], logs: int, seed: int) -> None:
    """Write a Parquet file with `logs` logs for each size."""
    for size in sizes:
        first = simulated_log(size, 0, seed)
        with pq.ParquetWriter(folder / f"{size}.parquet", first.schema) as file:
            file.write_table(first)
            for log in range(1, logs):
                file.write_table(simulated_log(size, log, seed))


def covered(logs: DataFrame) -> DataFrame:
    """size, estimator, logs, refused, true_value, true_difference, bias, rmse, holds, difference_bias, difference_rmse,
    difference_holds: one row per size and estimator; the last six over the logs that were not refused.
    """
    rows = policy_rows(logs, TARGETS, *_GROUP[:2]).where(F.col("policy").isin(EVALUATED, REFERENCE))
    rows = rows.persist(StorageLevel.MEMORY_AND_DISK)
    sums = user_sums(rows, _GROUP, {**ESTIMATORS, truth.__name__: truth}).persist(StorageLevel.MEMORY_AND_DISK)
    found = estimates(sums, _GROUP, REFERENCE).where(F.col("policy") == EVALUATED)
    return _summed_up(found.where(F.col("estimator") != truth.__name__), _truth(sums))


def _truth(sums: DataFrame) -> DataFrame:
    """One row (true_value, true_difference) over all impressions of all logs."""
    terms = paired(sums, _GROUP, REFERENCE).where(F.col("policy") == EVALUATED)
    ours, theirs = F.sum("a") / F.sum("b"), F.sum("c") / F.sum("d")
    return terms.where(F.col("estimator") == truth.__name__).agg(
        ours.alias("true_value"), (ours - theirs).alias("true_difference")
    )


def _summed_up(found: DataFrame, known: DataFrame) -> DataFrame:
    def error(of: str) -> Column:
        return F.col(of) - F.col(f"true_{of}")

    def holds(of: str, low: str, high: str) -> Column:
        return F.avg(F.col(f"true_{of}").between(F.col(low), F.col(high)).cast("double"))

    return (
        found.crossJoin(F.broadcast(known))
        .groupBy("size", "estimator")
        .agg(
            F.count(F.lit(1)).alias("logs"),
            F.sum(F.col("value").isNull().cast("int")).alias("refused"),
            F.first("true_value").alias("true_value"),
            F.first("true_difference").alias("true_difference"),
            F.avg(error("value")).alias("bias"),
            F.sqrt(F.avg(F.pow(error("value"), F.lit(2)))).alias("rmse"),
            holds("value", "low", "high").alias("holds"),
            F.avg(error("difference")).alias("difference_bias"),
            F.sqrt(F.avg(F.pow(error("difference"), F.lit(2)))).alias("difference_rmse"),
            holds("difference", "difference_low", "difference_high").alias("difference_holds"),
        )
        .orderBy("size", "estimator")
    )


def report(found: DataFrame) -> str:
    """The table, as Markdown."""
    rows = found.collect()
    head = [
        f"True value of `{EVALUATED}` {rows[0]['true_value']:.4f}, of its difference to `{REFERENCE}` "
        f"{rows[0]['true_difference']:+.4f}.",
        "",
        "| impressions | estimator | logs | refused | bias | RMSE | coverage | bias of difference | RMSE | coverage |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines = [
        f"| {row['size']:,} | `{row['estimator']}` | {row['logs']} | {row['refused']} "
        f"| {row['bias']:+.4f} | {row['rmse']:.4f} | {row['holds']:.1%} "
        f"| {row['difference_bias']:+.4f} | {row['difference_rmse']:.4f} | {row['difference_holds']:.1%} |"
        for row in rows
    ]
    return "\n".join(head + lines)


def coverage_table(logs: int, sizes: list[int], seed: int) -> str:
    """`report` over `logs` simulated logs of each of `sizes` impressions."""
    with tempfile.TemporaryDirectory() as folder:
        write_logs(Path(folder), sizes, logs, seed)
        spark = spark_session("marquee coverage")
        try:
            return report(covered(spark.read.parquet(folder)))
        finally:
            spark.stop()
