"""Who is trained on and who is held out, and which examples are left out where there are too many."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.settings import Settings

TRAINING, HELD_OUT = "training", "held_out"
_MILLION = 1_000_000


def split(user_id: Column, settings: Settings) -> Column:
    """`training` or `held_out`. A hash of the user alone, so that no further data moves a user."""
    place = F.pmod(F.xxhash64(user_id, F.lit("split")), F.lit(_MILLION))
    return F.when(place < settings.held_out_share * _MILLION, HELD_OUT).otherwise(TRAINING)


def first_of_splits(rows: DataFrame, settings: Settings) -> DataFrame:
    """At most as many `rows` of each split as set, by the hash of user and title."""
    limits = {TRAINING: settings.training_examples, HELD_OUT: settings.held_out_examples}
    parts = [
        rows.where(F.col("split") == name).orderBy(sample_place(), "user_id", "title_id", "shown_at").limit(limit)
        for name, limit in limits.items()
    ]
    return parts[0].unionByName(parts[1])


def sample_place() -> Column:
    """The place of an example in the order by which examples are taken."""
    return F.xxhash64("user_id", "title_id", F.lit("sample"))
