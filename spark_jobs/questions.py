"""The held-out examples as prompts to score: each context with its choices."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import HELD_OUT_CHOICES, HELD_OUT_CONTEXTS
from spark_jobs.warehouse import Night, bucket


def write_questions(night: Night, held_out: DataFrame, choices: DataFrame) -> None:
    """Write `held_out_contexts` and `held_out_choices`."""
    buckets = night.warehouse.buckets(HELD_OUT_CONTEXTS)
    contexts = contexts_to_ask(held_out, buckets).withColumn("ds", F.lit(night.ds))
    in_order = contexts.repartition(buckets, "bucket").sortWithinPartitions("bucket", "context_key")
    night.replace(HELD_OUT_CONTEXTS, in_order)
    asked = choices.join(held_out.select("choice_key"), "choice_key", how="left_semi")
    rows = asked.withColumn("ds", F.lit(night.ds))
    night.replace(HELD_OUT_CHOICES, rows.repartition(1).sortWithinPartitions("choice_key", "ordering"))


def contexts_to_ask(held_out: DataFrame, buckets: int) -> DataFrame:
    """bucket, context_key, context, pairs: one row per context. Impressions with equal context and choice are one pair.

    prompt_hash covers the texts alone: the model that will score them is not known yet.
    """
    pair = F.struct("choice_key", "ordering", F.xxhash64("context", "choice").alias("prompt_hash"))
    return (
        held_out.groupBy("context_key", "context")
        .agg(F.array_sort(F.collect_set(pair)).alias("pairs"))
        .withColumn("bucket", bucket(F.col("context_key"), buckets))
    )
