"""The truth of a sample service for Spark. Only evaluations may read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.log import dot
from examples.truth import APPEAL, ARTWORKS, BASE, STYLE, TASTE, USERS, has_truth
from schemas.contract import ContractError


def true_play_of(warehouse: str) -> Callable[[DataFrame], DataFrame] | None:
    """`with_true_play` for a warehouse; None if it is no sample's."""
    return partial(with_true_play, warehouse=warehouse) if has_truth(warehouse) else None


def with_true_play(options: DataFrame, warehouse: str) -> DataFrame:
    """`options` (user_id, artwork_id, …) with true_play, the probability that the user plays from the artwork."""
    users, artworks = (_read(options.sparkSession, f"{warehouse}/{file}") for file in (USERS, ARTWORKS))
    match = dot(F.col("taste"), F.col("theme_weights"))
    logit = BASE + TASTE * match + STYLE * F.col("style_effect") + APPEAL * F.col("appeal")
    return (
        options.join(users, "user_id", how="left")
        .join(artworks, "artwork_id", how="left")
        .withColumn("true_play", 1 / (1 + F.exp(-logit)))
        .drop(*users.columns[1:], *artworks.columns[1:])
    )


def _read(spark: SparkSession, path: str) -> DataFrame:
    from pyspark.errors import AnalysisException

    try:
        return spark.read.parquet(path)
    except AnalysisException as error:
        raise ContractError(f"{path}: there is no truth here; only a sample service has one") from error
