"""The wanted pairs of a night, and what decides each: the model, the published choice, or neither."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.settings import Settings
from spark_jobs.policy import explores

# Why the model scores a wanted pair, or does not.
TO_SCORE, CARRIED, ONLY_CHOICE, UNIFORM, NO_ARTWORK = (
    "to_score",
    "carried",
    "only_choice",
    "uniform",
    "no_active_artwork",
)


def title_options(choices: DataFrame) -> DataFrame:
    """title_id, artwork_ids, choice_hashes (by rotation): one row per title of `title_choices`."""
    hashes = F.array_sort(F.collect_list(F.struct("ordering", "choice_hash")))
    return choices.groupBy("title_id").agg(
        F.min_by("artwork_ids", "ordering").alias("artwork_ids"),
        F.transform(hashes, lambda item: item["choice_hash"]).alias("choice_hashes"),
    )


def pairs_by_kind(wanted: DataFrame, options: DataFrame, settings: Settings) -> DataFrame:
    """bucket, user_id, title_id, rank, artwork_ids, choice_hashes, kind: every wanted pair and how it is decided.

    `kind` is to_score if the pair needs a model; `with_carried` then changes some of these to carried.
    """
    size = F.coalesce(F.size("artwork_ids"), F.lit(0))
    kind = (
        F.when(size == 0, NO_ARTWORK)
        .when(size == 1, ONLY_CHOICE)
        .when(explores(F.col("user_id"), settings), UNIFORM)
        .otherwise(TO_SCORE)
    )
    return (
        wanted.select("bucket", "user_id", F.posexplode("title_ids").alias("rank", "title_id"))
        .join(options, "title_id", how="left")
        .withColumn("kind", kind)
    )


def with_carried(pairs: DataFrame, contexts: DataFrame, published: DataFrame, model_version: str) -> DataFrame:
    """`pairs` with ordering and prompt_hash; pairs whose prompt is the published one become `carried`.

    The rotation depends on the pair alone, so that chance does not move an artwork from night to night.
    """
    asked = F.col("kind") == TO_SCORE
    ordering = F.pmod(F.xxhash64("user_id", "title_id"), F.size("choice_hashes")).cast("int")
    prompt_hash = F.xxhash64("context_hash", F.get("choice_hashes", F.col("ordering")), F.lit(model_version))
    hashes = contexts.select("user_id", F.xxhash64("context").alias("context_hash"))
    before = published.select("user_id", "title_id", F.col("prompt_hash").alias("published_hash"))
    return (
        pairs.join(hashes, "user_id", how="left")
        .withColumn("ordering", F.when(asked, ordering))
        .withColumn("prompt_hash", F.when(asked, prompt_hash))
        .join(before, ["user_id", "title_id"], how="left")
        .withColumn(
            "kind", F.when(asked & (F.col("prompt_hash") == F.col("published_hash")), CARRIED).otherwise(F.col("kind"))
        )
        .drop("context_hash", "published_hash")
    )
