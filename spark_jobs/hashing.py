"""Hashes that stand for content. Spark's xxhash64 passes over nulls, so that `[a, null]` and `[a]` are one to it."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

# Bytes that no text has: what is not UTF-8 is rejected when the night begins.
_NULL, _NULL_LIST = b"\xff", b"\xfe"


def without_nulls(texts: Column) -> Column:
    """An array of texts in which nulls are replaced, so that a hash sees them. One without nulls stays as it is."""
    shown = F.transform(texts, lambda text: F.coalesce(text, F.lit(_NULL).cast("string")))
    return F.coalesce(shown, F.array(F.lit(_NULL_LIST).cast("string")))


def list_hash(texts: Column) -> Column:
    """xxhash64 of an array of texts: another one for other texts, another order, a null more or less, or no array."""
    return F.xxhash64(without_nulls(texts))


def choice_hash() -> Column:
    """The hash of a row of `title_choices`: of its text and of its artworks in their order."""
    return F.xxhash64("choice", without_nulls(F.col("artwork_ids")))


def row_hash(*columns: str) -> Column:
    """xxhash64 of several columns: another one where a null stands in another column."""
    return F.xxhash64(*columns, *(F.col(column).isNull() for column in columns))
