"""The audit's comparison of scores with the choices published before."""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.settings import Settings
from spark_jobs.audit import drift, with_best_before
from spark_jobs.policy import explored, ranked, scored_options


def test_equally_probable_artworks_have_not_changed_their_order(spark: SparkSession) -> None:
    """A title whose captions are all equal: which artwork is option 1 differs from pair to pair."""
    ids = [f"a{number:02}" for number in range(40)]
    rotated = [(f"u{shift}", "t1", ids[shift:] + ids[:shift], [1 / 40] * 40) for shift in range(0, 40, 10)]
    scores = spark.createDataFrame(
        rotated, "user_id string, title_id string, artwork_ids array<string>, probabilities array<double>"
    )
    options = scored_options(F.col("artwork_ids"), F.col("probabilities"))
    published = scores.select(
        "user_id",
        "title_id",
        F.lit("model").alias("source"),
        ranked(explored(options, Settings())).alias("ranking"),
    )
    again = scores.withColumn("artwork_ids", F.reverse("artwork_ids"))
    found = with_best_before(again, published).agg(*drift())
    assert found.collect()[0].asDict() == {"rescored": 4, "changed": 0}
    liked = scores.withColumn("probabilities", F.transform("artwork_ids", lambda id_: (id_ == "a07").cast("double")))
    found = with_best_before(liked, published).agg(*drift())
    assert found.collect()[0].asDict() == {"rescored": 4, "changed": 4}
