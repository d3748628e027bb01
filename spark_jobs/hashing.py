"""Hashes of content. Spark's xxhash64 skips nulls, so it hashes `[a, null]` and `[a]` to the same value."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

# Bytes that no text has: a night first rejects rows that are not UTF-8.
_NULL, _NULL_LIST = b"\xff", b"\xfe"


def without_nulls(texts: Column) -> Column:
    """`texts` with nulls, or a null array, replaced by markers that a hash sees; unchanged if there are none."""
    shown = F.transform(texts, lambda text: F.coalesce(text, F.lit(_NULL).cast("string")))
    return F.coalesce(shown, F.array(F.lit(_NULL_LIST).cast("string")))


def list_hash(texts: Column) -> Column:
    """xxhash64 of an array of texts: it depends on the texts, their order, each null, and whether the array is null."""
    return F.xxhash64(without_nulls(texts))


def choice_hash() -> Column:
    """The hash of a row of `title_choices`: of its text and its artworks in their order."""
    return F.xxhash64("choice", without_nulls(F.col("artwork_ids")))


def row_hash(*columns: str) -> Column:
    """xxhash64 of several columns, which also depends on which of them are null."""
    return F.xxhash64(*columns, *(F.col(column).isNull() for column in columns))
