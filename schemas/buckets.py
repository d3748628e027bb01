"""The bucket of a user: the unit of partitioning, of work, of resuming and of lookup."""

from __future__ import annotations

from zlib import crc32


def bucket_of(user_id: str, buckets: int) -> int:
    """crc32(user_id) % buckets, as Spark's crc32 of the string's UTF-8 bytes gives it."""
    return crc32(user_id.encode()) % buckets
