"""The flat join: what one would otherwise write, a table of one prompt text per pair."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.settings import Settings
from schemas.tables import TITLE_CHOICES, USER_CONTEXTS, WANTED_PAIRS
from spark_jobs.inputs import good_artworks, good_history, good_titles
from spark_jobs.prompts import title_choice_texts, user_context_texts
from spark_jobs.warehouse import Night

FLAT = "prompts"
"""Name of the flat table."""


def flat_prompts(wanted: DataFrame, contexts: DataFrame, choices: DataFrame) -> DataFrame:
    """user_id, title_id, artwork_ids, prompt: every wanted pair that has a choice. The ordering is Marquee's."""
    orderings = choices.groupBy("title_id").agg(F.count("*").alias("orderings"))
    return (
        wanted.select("user_id", F.explode("title_ids").alias("title_id"))
        .join(orderings, "title_id", how="inner")
        .withColumn("ordering", F.pmod(F.xxhash64("user_id", "title_id"), F.col("orderings")).cast("int"))
        .join(choices, ["title_id", "ordering"], how="inner")
        .join(contexts, "user_id", how="inner")
        .select("user_id", "title_id", "artwork_ids", F.concat("context", "choice").alias("prompt"))
    )


def write_flat(night: Night) -> None:
    """The same texts as the step contexts makes, joined to prompts and written as the join leaves them."""
    settings: Settings = night.settings
    wanted = night.tonight(WANTED_PAIRS)
    contexts = user_context_texts(wanted, good_history(night), good_titles(night), settings)
    choices = title_choice_texts(good_titles(night), good_artworks(night), settings)
    rows = flat_prompts(wanted, contexts, choices)
    rows.write.format("delta").mode("overwrite").save(flat_path(night))


def flat_path(night: Night) -> str:
    return f"{night.settings.warehouse}/{FLAT}"


def both_hold(night: Night) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """(prompts, characters, hash of all) of Marquee's tables and of the flat one."""
    choices = night.tonight(TITLE_CHOICES).select("title_id", "ordering", "choice")
    ours = (
        night.tonight(USER_CONTEXTS)
        .select("user_id", "context", F.explode("pairs").alias("pair"))
        .select("user_id", "context", "pair.title_id", "pair.ordering")
        .join(choices, ["title_id", "ordering"], how="inner")
        .select("user_id", "title_id", F.concat("context", "choice").alias("prompt"))
    )
    return _summed(ours), _summed(night.spark.read.format("delta").load(flat_path(night)))


def _summed(prompts: DataFrame) -> tuple[int, int, int]:
    # Bits of the hashes, added up: whatever the order of the rows. 20 M sums of 32 bits stay below 63.
    part = F.xxhash64("user_id", "title_id", "prompt").bitwiseAND(0xFFFFFFFF)
    row = prompts.agg(F.count("*"), F.sum(F.length("prompt")), F.sum(part)).collect()[0]
    return row[0], row[1] or 0, row[2] or 0
