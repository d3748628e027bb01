"""The held-out examples as tables of a night, so that a night's scorer asks them unchanged."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTIONS,
    NIGHT_STEPS,
    REJECTED_ROWS,
    SCORING_RUNS,
    TITLE_CHOICES,
    USER_CONTEXTS,
)
from spark_jobs.hashing import choice_hash
from spark_jobs.warehouse import Night, bucket

QUESTIONS = (
    USER_CONTEXTS,
    TITLE_CHOICES,
    ARTWORK_SCORES,
    REJECTED_ROWS,
    SCORING_RUNS,
    NIGHT_STEPS,
    # Keeps the number of buckets.
    ARTWORK_SELECTIONS,
)
"""What a scorer reads and writes."""


def write_questions(questions: Night, held_out: DataFrame, choices: DataFrame) -> None:
    """Write `user_contexts` and `title_choices`: a context_key stands for the user, a choice_key for the title."""
    buckets = questions.warehouse.buckets()
    contexts = contexts_to_ask(held_out, buckets).withColumn("ds", F.lit(questions.ds))
    questions.replace(USER_CONTEXTS, contexts.repartition(buckets, "bucket").sortWithinPartitions("bucket", "user_id"))
    asked = choices.join(held_out.select("choice_key"), "choice_key", how="left_semi")
    rows = asked.select(
        F.lit(questions.ds).alias("ds"),
        F.col("choice_key").alias("title_id"),
        "ordering",
        "artwork_ids",
        "choice",
        choice_hash().alias("choice_hash"),
    )
    questions.replace(TITLE_CHOICES, rows.repartition(1).sortWithinPartitions("title_id", "ordering"))


def contexts_to_ask(held_out: DataFrame, buckets: int) -> DataFrame:
    """bucket, user_id, context, pairs: one row per context. Impressions with one context and choice are one pair.

    The prompt_hash is of the texts alone: which model answers is not yet known.
    """
    pair = F.struct(
        F.col("choice_key").alias("title_id"), "ordering", F.xxhash64("context", "choice").alias("prompt_hash")
    )
    return (
        held_out.groupBy(F.col("context_key").alias("user_id"), "context")
        .agg(F.array_sort(F.collect_set(pair)).alias("pairs"))
        .withColumn("bucket", bucket(F.col("user_id"), buckets))
    )
