"""The pairs that the model must score tonight, and the texts of their prompts."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import (
    REJECTED_ROWS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    WANTED_PAIRS,
)
from spark_jobs.hashing import choice_hash
from spark_jobs.inputs import NO_BUCKET, good_artworks, good_history, good_titles
from spark_jobs.pairs import (
    CARRIED,
    NO_ARTWORK,
    ONLY_CHOICE,
    TO_SCORE,
    UNIFORM,
    pairs_by_kind,
    title_options,
    with_carried,
)
from spark_jobs.prompts import title_choice_texts, user_context_texts
from spark_jobs.published import published_before
from spark_jobs.session import materialized
from spark_jobs.signals import PLAY_RATE, with_band
from spark_jobs.taste import TASTE_GROUP, with_taste_group
from spark_jobs.warehouse import Night


def contexts_to_score(pairs: DataFrame, contexts: DataFrame, ds: date) -> DataFrame:
    """Rows of `user_contexts`: each user with at least one pair to score, most wanted title first."""
    asked = F.array_sort(F.collect_list(F.struct("rank", "title_id", "ordering", "prompt_hash")))
    to_score = (
        pairs.where(F.col("kind") == TO_SCORE)
        .groupBy("bucket", "user_id")
        .agg(F.transform(asked, lambda p: F.struct(p["title_id"], p["ordering"], p["prompt_hash"])).alias("pairs"))
    )
    return to_score.join(contexts, "user_id", how="inner").withColumn("ds", F.lit(ds))


def pairs_without_artwork(pairs: DataFrame, ds: date) -> DataFrame:
    """Wanted pairs whose title has no active artwork, as rows of `rejected_rows`."""
    return pairs.where(F.col("kind") == NO_ARTWORK).select(
        F.lit(ds).alias("ds"),
        F.lit("contexts").alias("step"),
        F.lit(NO_BUCKET).alias("bucket"),
        F.lit(WANTED_PAIRS.name).alias("source_table"),
        F.to_json(F.struct("user_id", "title_id")).alias("row"),
        F.lit(NO_ARTWORK).alias("rule"),
    )


def contexts(night: Night) -> None:
    """Write `title_choices` and `user_contexts`."""
    settings, buckets, model_version = night.settings, night.warehouse.buckets(), night.model_version()
    with night.step("contexts") as counts:
        artworks = good_artworks(night)
        if PLAY_RATE in settings.signals:
            artworks = materialized(with_band(artworks, night))
            counts["artworks_with_play_rate"] = artworks.where(F.col("band").isNotNull()).count()
        choices = title_choice_texts(good_titles(night), artworks, settings)
        choices = materialized(choices.withColumns({"ds": F.lit(night.ds), "choice_hash": choice_hash()}))
        night.replace(TITLE_CHOICES, choices.repartition(1).sortWithinPartitions("title_id", "ordering"))

        wanted = night.tonight(WANTED_PAIRS)
        users = wanted.select("user_id")
        if TASTE_GROUP in settings.signals:
            users = materialized(with_taste_group(users, night))
            counts["users_with_taste_group"] = users.where(F.col(TASTE_GROUP).isNotNull()).count()
        # Read twice below: for the hash of each pair, and for the text itself.
        texts = materialized(user_context_texts(users, good_history(night), good_titles(night), settings))
        published = published_before(night, night.noted())
        pairs = pairs_by_kind(wanted, title_options(choices), settings)
        pairs = materialized(with_carried(pairs, texts, published, model_version))
        kinds = {row["kind"]: row["count"] for row in pairs.groupBy("kind").count().collect()}
        rows = contexts_to_score(pairs, texts, night.ds)
        night.replace(USER_CONTEXTS, rows.repartition(buckets, "bucket").sortWithinPartitions("bucket", "user_id"))
        rejects = pairs_without_artwork(pairs, night.ds).coalesce(1) if NO_ARTWORK in kinds else None
        night.replace(REJECTED_ROWS, rejects, step="contexts")
        counts["pairs_wanted"] = sum(kinds.values())
        for kind in (TO_SCORE, CARRIED, ONLY_CHOICE, UNIFORM, NO_ARTWORK):
            counts[f"pairs_{kind}"] = kinds.get(kind, 0)
