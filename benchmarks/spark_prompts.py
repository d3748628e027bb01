"""The flat join: a table of one prompt text per pair, as one would write without Marquee."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.tables import TITLE_CHOICES, USER_CONTEXTS, WANTED_PAIRS
from spark_jobs.inputs import good_artworks, good_history, good_titles
from spark_jobs.prompts import title_choice_texts, user_context_texts
from spark_jobs.warehouse import Night


def write_flat(night: Night) -> None:
    """Join the texts of the step contexts to whole prompts and write them in the order of the join.

    Every wanted pair with two artworks or more has one, in the rotation that Marquee scores.
    """
    wanted = night.tonight(WANTED_PAIRS)
    contexts = user_context_texts(wanted, good_history(night), good_titles(night), night.settings)
    choices = title_choice_texts(good_titles(night), good_artworks(night), night.settings)
    several = choices.where(F.size("artwork_ids") > 1)
    rotations = several.groupBy("title_id").agg(F.count("*").alias("rotations"))
    pairs = (
        wanted.select("user_id", F.explode("title_ids").alias("title_id"))
        .join(rotations, "title_id", how="inner")
        .withColumn("ordering", F.pmod(F.xxhash64("user_id", "title_id"), F.col("rotations")).cast("int"))
    )
    prompts = _joined(pairs, several, contexts)
    prompts.write.format("delta").mode("overwrite").save(flat_path(night))


def _joined(pairs: DataFrame, choices: DataFrame, contexts: DataFrame) -> DataFrame:
    """user_id, title_id, prompt."""
    return (
        pairs.join(choices, ["title_id", "ordering"], how="inner")
        .join(contexts, "user_id", how="inner")
        .select("user_id", "title_id", F.concat("context", "choice").alias("prompt"))
    )


def flat_path(night: Night) -> str:
    return f"{night.settings.warehouse}/prompts"


def both_sums(night: Night) -> tuple[tuple[int, int], tuple[int, int]]:
    """(prompts, sum of their hashes) of Marquee's tables and of the flat one."""
    contexts = night.tonight(USER_CONTEXTS)
    pairs = contexts.select("user_id", F.explode("pairs").alias("pair")).select("user_id", "pair.*")
    ours = _joined(pairs, night.tonight(TITLE_CHOICES), contexts.select("user_id", "context"))
    return _sum(ours), _sum(night.spark.read.format("delta").load(flat_path(night)))


def _sum(prompts: DataFrame) -> tuple[int, int]:
    # 32 bits of each hash: the sum of a billion of them fits in 63 bits.
    part = F.xxhash64("user_id", "title_id", "prompt").bitwiseAND(0xFFFFFFFF)
    row = prompts.agg(F.count("*"), F.sum(part)).collect()[0]
    return row[0], row[1] or 0


def shuffled_bytes(spark: SparkSession) -> int:
    """Bytes that all tasks of the session have written for shuffles so far."""
    context = spark.sparkContext._jsc.sc()  # noqa: SLF001
    context.listenerBus().waitUntilEmpty()
    executors = context.statusStore().executorList(False)
    return sum(executors.apply(place).totalShuffleWrite() for place in range(executors.size()))
