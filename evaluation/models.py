"""Models' answers to the held-out questions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.log import KEY
from inference.champion import model_of_tonight
from inference.checkpoint import read_checkpoint
from inference.rotations import averaged, of_averaged
from schemas.contract import ContractError
from schemas.paths import is_uri
from schemas.settings import Settings, settings
from schemas.store import has_files, open_table
from schemas.tables import HELD_OUT_SCORES, POST_TRAINING_EXAMPLES
from spark_jobs.warehouse import Warehouse


def version_of(model: str) -> str:
    """The version that `model` means. For a checkpoint's folder or URI, its version in the quantization of the
    settings; for one with `+ordersN`, the name of its averaged scores; a version or a policy's name is returned
    unchanged.
    """
    found = None if Path(model).is_dir() else of_averaged(model)
    if found:
        return averaged(version_of(found[0]), found[1])
    if is_uri(model) or Path(model).is_dir():
        return read_checkpoint(model).quantized(settings().quantization).version
    return model


def champion_version(named: str | None, settings: Settings) -> str:
    """The reference of differences: the model or policy `named`, or else the model that would score a night now."""
    return version_of(named) if named else model_of_tonight(settings).model.version


def is_scored(warehouse: Warehouse, model: str) -> bool:
    """Whether the warehouse has scores of `model` for any day."""
    if not warehouse.has(HELD_OUT_SCORES):
        return False
    return has_files(open_table(warehouse.settings.warehouse, HELD_OUT_SCORES), model_version=model)


def model_scores(warehouse: Warehouse, model: str, ds: date) -> DataFrame:
    """A model's rows of `held_out_scores` for ds. Raises ContractError if there are none."""
    if not has_files(open_table(warehouse.settings.warehouse, HELD_OUT_SCORES), ds=ds, model_version=model):
        raise ContractError(
            f"{HELD_OUT_SCORES.name}: no rows of {model} for ds={ds} in {warehouse.settings.warehouse}; score it for "
            "that day first (marquee score-held-out)"
        )
    return warehouse.read(HELD_OUT_SCORES).where((F.col("ds") == F.lit(ds)) & (F.col("model_version") == model))


@dataclass(frozen=True)
class Beside:
    """A model scored on the same impressions in another warehouse, for example with other signals in its prompts."""

    settings: Settings
    model: str

    @property
    def policy(self) -> str:
        """Its name in `policy_estimates`."""
        return f"{self.model} in {Path(self.settings.warehouse).name}"


def with_probabilities_beside(log: DataFrame, beside: Beside, spark: SparkSession, ds: date) -> DataFrame:
    """`log` with the probabilities that the model beside gave to its own prompts for the same impressions."""
    there = Warehouse(spark, beside.settings)
    examples = there.read(POST_TRAINING_EXAMPLES).where(F.col("ds") == F.lit(ds))
    questions = log.drop("context_key", "choice_key").join(
        examples.select(*KEY, "context_key", "choice_key"), list(KEY), how="inner"
    )
    answered = probabilities_of(questions, model_scores(there, beside.model, ds)).select(*KEY, "probabilities")
    return log.join(answered, list(KEY), how="inner")


def probabilities_of(log: DataFrame, scores: DataFrame) -> DataFrame:
    """The scored rows of `log`, with `probabilities` aligned with the log's artwork_ids, not the scores' own."""
    scored = scores.select(
        "context_key",
        "choice_key",
        F.map_from_arrays("artwork_ids", "probabilities").alias("scored"),
    )
    probabilities = F.transform("artwork_ids", lambda artwork: F.try_element_at("scored", artwork))
    joined = log.join(scored, ["context_key", "choice_key"], how="inner")
    return joined.withColumn("probabilities", probabilities).drop("scored")
