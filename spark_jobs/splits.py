"""Which users are trained on or held out, and which examples are left out if there are too many."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.settings import Settings

TRAINING, HELD_OUT = "training", "held_out"
_MILLION = 1_000_000


def split(user_id: Column, settings: Settings) -> Column:
    """`training` or `held_out`. A hash of the user alone decides, so that more data moves no user."""
    place = F.pmod(F.xxhash64(user_id, F.lit("split")), F.lit(_MILLION))
    return F.when(place < settings.held_out_share * _MILLION, HELD_OUT).otherwise(TRAINING)


def first_of_splits(rows: DataFrame, settings: Settings) -> DataFrame:
    """`rows` up to the limit of each split, in the order of a hash of user and title."""
    limits = {TRAINING: settings.training_examples, HELD_OUT: settings.held_out_examples}
    parts = [
        rows.where(F.col("split") == name).orderBy(sample_place(), "user_id", "title_id", "shown_at").limit(limit)
        for name, limit in limits.items()
    ]
    return parts[0].unionByName(parts[1])


def sample_place() -> Column:
    """The key by which examples are sorted before the first are taken."""
    return F.xxhash64("user_id", "title_id", F.lit("sample"))
