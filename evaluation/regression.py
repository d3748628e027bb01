"""Logistic regressions of play on features, in Spark ML: the bandit, and the direct method's q̂."""

from __future__ import annotations

from pyspark import StorageLevel
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

FOLDS = 2
PENALTY = 1e-3  # L2 penalty on standardized features


def fitted(shown: DataFrame) -> LogisticRegressionModel:
    """A logistic regression of `reward` on `features` over impressions."""
    regression = LogisticRegression(featuresCol="features", labelCol="reward", regParam=PENALTY, maxIter=50)
    data = shown.select("reward", "features").persist(StorageLevel.MEMORY_AND_DISK)
    model: LogisticRegressionModel = regression.fit(data)
    data.unpersist()
    return model


def predicted(model: LogisticRegressionModel, options: DataFrame, name: str) -> DataFrame:
    """`options` with the model's probability of a play, from their `features`, as the column `name`."""
    scored = model.transform(options)
    return scored.withColumn(name, F.get(vector_to_array(F.col("probability")), F.lit(1))).drop(
        "features", "rawPrediction", "probability", "prediction"
    )


def fold_of(user_id: Column) -> Column:
    return F.pmod(F.xxhash64(user_id, F.lit("fold")), F.lit(FOLDS)).cast("int")


def cross_fitted(shown: DataFrame, options: DataFrame, name: str) -> DataFrame:
    """`options` with the column `name`, predicted from their `features` by a regression on the users of other folds.

    Chernozhukov et al., 2018: a q̂ fitted to the rewards that it corrects would make doubly robust intervals too narrow.
    """
    parts = []
    for fold in range(FOLDS):
        model = fitted(shown.where(fold_of(F.col("user_id")) != fold))
        parts.append(predicted(model, options.where(fold_of(F.col("user_id")) == fold), name))
    united = parts[0]
    for part in parts[1:]:
        united = united.unionByName(part)
    return united
