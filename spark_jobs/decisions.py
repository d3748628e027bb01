"""What a night decides for every pair, before anything of it is published: the audit counts it, publish writes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    REMOVED,
    TITLE_CHOICES,
    WANTED_PAIRS,
)
from spark_jobs.expiry import expired, may_expire
from spark_jobs.hashing import row_hash
from spark_jobs.merging import KEY
from spark_jobs.noted import Noted
from spark_jobs.pairs import ONLY_CHOICE, UNIFORM, pairs_by_kind, title_options
from spark_jobs.policy import drawn, explored, ranked, scored_options, uniform
from spark_jobs.published import published_before
from spark_jobs.warehouse import Night

# What a night does to a pair.
ADDED, CHANGED, UNCHANGED = "added", "changed", "unchanged"
# Rows with equal values here are the same choice, whenever it was made.
CONTENT = ["artwork_id", "probability", "propensity", "ranking", "source", "model_version", "prompt_hash"]


def scored_choices(scores: DataFrame, settings: Settings) -> DataFrame:
    """bucket, user_id, title_id, distribution, source, model_version, prompt_hash of the pairs the model scored."""
    return scores.select(
        "bucket",
        *KEY,
        explored(scored_options(F.col("artwork_ids"), F.col("probabilities")), settings).alias("distribution"),
        F.lit("model").alias("source"),
        "model_version",
        "prompt_hash",
    )


def unscored_choices(pairs: DataFrame) -> DataFrame:
    """The same columns for wanted pairs that need no model: one artwork, or a user of the exploring slice."""
    return pairs.where(F.col("kind").isin(ONLY_CHOICE, UNIFORM)).select(
        "bucket",
        *KEY,
        uniform(F.col("artwork_ids")).alias("distribution"),
        F.col("kind").alias("source"),
        F.lit(None).cast("string").alias("model_version"),
        F.lit(None).cast("long").alias("prompt_hash"),
    )


def kept_choices(published: DataFrame, options: DataFrame, settings: Settings) -> DataFrame:
    """The same columns for choices that stand, without artworks that are no longer active.

    If no artwork was lost, the stored distribution stays, to the last bit; otherwise the rest is renormalized. A pair
    that lost all has an empty distribution; so has one whose user_id is not UTF-8, which an earlier version of Marquee
    published and Arrow refuses to read.
    """
    active = options.select("title_id", "artwork_ids")
    left = F.filter(
        "ranking", lambda option: F.array_contains(F.coalesce("artwork_ids", F.array()), option["artwork_id"])
    )
    total = F.aggregate("left", F.lit(0.0), lambda sum_, option: sum_ + option["probability"])
    # The remaining artworks may all have had probability 0.
    total_left = F.when(F.col("total") > 0, F.col("total"))
    renormalized = F.transform(
        "left",
        lambda option: F.struct(
            option["artwork_id"].alias("artwork_id"),
            F.coalesce(option["probability"] / total_left, F.lit(1.0) / F.size("left")).alias("probability"),
        ),
    )
    ids = F.transform("left", lambda option: option["artwork_id"])
    distribution = (
        F.when(F.size("left") == F.size("ranking"), F.col("ranking"))
        .when(F.col("source") == "model", explored(renormalized, settings))
        .otherwise(uniform(ids))
    )
    return (
        published.join(active, "title_id", how="left")
        .withColumn("artwork_ids", F.when(F.is_valid_utf8("user_id"), F.col("artwork_ids")))
        .withColumn("left", left)
        .withColumn("total", total)
        .select("bucket", *KEY, distribution.alias("distribution"), "source", "model_version", "prompt_hash")
    )


def with_draw(choices: DataFrame, ds: date, settings: Settings) -> DataFrame:
    """Key and CONTENT, with the artwork drawn from each distribution; source is `removed` if that is empty."""
    choice = drawn(F.col("distribution"), F.col("user_id"), F.col("title_id"), ds, settings)
    gone = F.size("distribution") == 0
    return (
        choices.withColumn("choice", choice)
        .withColumn("source", F.when(gone, REMOVED).otherwise(F.col("source")))
        .select(
            "bucket",
            *KEY,
            F.col("choice.artwork_id").alias("artwork_id"),
            F.col("choice.probability").alias("probability"),
            F.col("choice.propensity").alias("propensity"),
            ranked(F.col("distribution")).alias("ranking"),
            "source",
            "model_version",
            "prompt_hash",
        )
    )


def state_after(decided: DataFrame, before: DataFrame, ds: date) -> DataFrame:
    """The choices that stand after the night: `decided` with ds and updated_at, unchanged if the choice is.

    `change`: ADDED, CHANGED, REMOVED or UNCHANGED, compared with `before`; `hash`: the row_hash of CONTENT.
    """
    old = before.select(
        *KEY, row_hash(*CONTENT).alias("old_hash"), F.col("ds").alias("old_ds"), F.col("updated_at").alias("old_at")
    )
    same = F.coalesce(F.col("old_hash") == F.col("hash"), F.lit(False))
    change = F.when(same, UNCHANGED).when(F.col("source") == REMOVED, REMOVED)
    end_of_day = F.date_add(F.lit(ds), 1).cast("timestamp")
    return (
        decided.withColumn("hash", row_hash(*CONTENT))
        .join(old, KEY, how="left")
        .select(
            *decided.columns,
            "hash",
            change.when(F.col("old_hash").isNull(), ADDED).otherwise(CHANGED).alias("change"),
            F.when(same, F.col("old_ds")).otherwise(F.lit(ds)).alias("ds"),
            F.when(same, F.col("old_at")).otherwise(end_of_day).alias("updated_at"),
        )
    )


def decide(
    night: Night, pairs: DataFrame, options: DataFrame, before: DataFrame, found: Mapping[str, Noted]
) -> DataFrame:
    """Key and CONTENT of every pair wanted tonight or published `before`; `found`: the present state of the tables."""
    settings = night.settings
    fresh = scored_choices(night.tonight(ARTWORK_SCORES), settings).unionByName(unscored_choices(pairs))
    standing = before
    if any(night.noted().get(name) != noted for name, noted in found.items()):
        # A wanted pair without a score was unchanged when the night began, so it keeps what was published then. Any
        # other pair keeps what stands now.
        carried = published_before(night, night.noted()).join(pairs, KEY, how="left_semi")
        unwanted = before.join(pairs, KEY, how="left_anti")
        standing = carried.unionByName(unwanted)
    kept, made = standing.join(fresh, KEY, how="left_anti"), fresh
    if may_expire(night):
        ended = expired(kept, night.warehouse.read(WANTED_PAIRS), night.ds, settings)
        # As if their artworks had ended.
        made = fresh.unionByName(kept_choices(ended, options.limit(0), settings))
        kept = kept.join(ended, KEY, how="left_anti")
    return with_draw(made.unionByName(kept_choices(kept, options, settings)), night.ds, settings)


def planned(night: Night) -> DataFrame:
    """The choices that stand after the night (`state_after`), by its scores and the present state of the tables."""
    options = title_options(night.tonight(TITLE_CHOICES)).persist(StorageLevel.MEMORY_AND_DISK)
    pairs = pairs_by_kind(night.tonight(WANTED_PAIRS), options, night.settings)
    found = {table.name: night.warehouse.state(table) for table in (ARTWORK_SELECTIONS, ARTWORK_SELECTION_LOG)}
    before = published_before(night, found)
    return state_after(decide(night, pairs, options, before, found), before, night.ds)
