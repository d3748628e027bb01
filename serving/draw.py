"""The draw of an artwork in Python, as spark_jobs/policy.py makes it in Spark: the same hash, epoch and interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import xxhash

from schemas.settings import Settings

_SPARK_SEED = 42
_FIRST_DAY = date(1970, 1, 1)


def spark_hash(*values: str | int) -> int:
    """Spark's xxhash64 of strings and bigints: each value's XXH64, seeded with the one before; unsigned."""
    found = _SPARK_SEED
    for value in values:
        content = value.encode() if isinstance(value, str) else value.to_bytes(8, "little", signed=True)
        found = xxhash.xxh64_intdigest(content, seed=found)
    return found


def epoch(user_id: str, day: date, settings: Settings) -> int:
    """The number of the user's epoch on a day."""
    hashed = spark_hash(user_id, settings.salt, "epoch")
    signed = hashed - 2**64 if hashed >= 2**63 else hashed
    return ((day - _FIRST_DAY).days + signed % settings.epoch_days) // settings.epoch_days


def point(user_id: str, title_id: str, day: date, settings: Settings) -> float:
    """The point in [0, 1) at which a pair's draw falls, for the whole epoch of `day`."""
    hashed = spark_hash(user_id, title_id, epoch(user_id, day, settings), settings.salt)
    return float((hashed >> 11) / 2**53)


def cumulative(ranking: Iterable[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Each artwork, by id, with the upper end of its interval of [0, 1): the sum of the propensities up to it."""
    total, ends = 0.0, []
    for option in sorted(ranking, key=lambda option: str(option["artwork_id"]).encode()):
        total += option["propensity"]
        ends.append((option["artwork_id"], total))
    return ends
