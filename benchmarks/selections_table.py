"""`artwork_selections` of any size, as it is after maintenance: a file a bucket, rows in no order, a checkpoint."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.prompt_bucket import TITLES_PER_USER
from schemas.buckets import bucket_of
from schemas.tables import ARTWORK_SELECTIONS, TITLE_DEFAULTS, buckets_kept

USERS_A_BUCKET = 10_000
"""As README.md advises."""
_TITLES, _ARTWORKS = 200, 8
_DS = date(2026, 1, 5)


def buckets_for(rows: int) -> int:
    """Buckets of a table of so many rows, none of more than USERS_A_BUCKET users."""
    return -(-rows // (TITLES_PER_USER * USERS_A_BUCKET))


def make_selections(warehouse: Path, rows: int, buckets: int) -> None:
    """Write the table, and an empty `title_defaults`, into a new folder. Users are u0, u1, …, of
    TITLES_PER_USER rows each.
    """
    by_bucket: dict[int, list[str]] = defaultdict(list)
    for number in range(rows // TITLES_PER_USER):
        by_bucket[bucket_of(f"u{number}", buckets)].append(f"u{number}")
    for table in (TITLE_DEFAULTS, ARTWORK_SELECTIONS):
        table.create(str(warehouse / table.name), **buckets_kept(table, buckets))
    path = str(warehouse / ARTWORK_SELECTIONS.name)
    for bucket, users in sorted(by_bucket.items()):
        write_deltalake(path, bucket_rows(bucket, users), mode="append")
    # Spark writes one with every tenth commit.
    DeltaTable(path).create_checkpoint()


def titles_of(user_id: str) -> np.ndarray:
    """The numbers of a user's titles."""
    return (int(user_id[1:]) * 7 + np.arange(TITLES_PER_USER) * (_TITLES // TITLES_PER_USER)) % _TITLES


def bucket_rows(bucket: int, users: list[str]) -> pa.RecordBatch:
    """The rows of one bucket, shuffled; each with a distribution over 8 artworks."""
    rng = np.random.default_rng(bucket)
    rows = len(users) * TITLES_PER_USER
    order = rng.permutation(rows)
    titles = np.concatenate([titles_of(user) for user in users])[order]
    title_ids = pa.array([f"t{number}" for number in range(_TITLES)])
    artworks = pa.array([f"t{title}-{number}" for title in range(_TITLES) for number in range(_ARTWORKS)])
    weights = rng.dirichlet(np.ones(_ARTWORKS), rows)
    weights = -np.sort(-weights, axis=1)
    ids = artworks.take(pa.array((titles[:, None] * _ARTWORKS + np.arange(_ARTWORKS)).ravel()))
    schema = ARTWORK_SELECTIONS.arrow_schema()
    ranking = schema.field("ranking").type
    options = pa.StructArray.from_arrays(
        [ids, pa.array(weights.ravel()), pa.array(0.9 * weights.ravel() + 0.1 / _ARTWORKS)],
        fields=list(ranking.value_type),
    )
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * _ARTWORKS)
    columns = {
        "bucket": pa.array(np.full(rows, bucket, np.int32)),
        "user_id": pa.array(users).take(pa.array(order // TITLES_PER_USER)),
        "title_id": title_ids.take(pa.array(titles)),
        "artwork_id": artworks.take(pa.array(titles * _ARTWORKS)),
        "probability": pa.array(weights[:, 0]),
        "propensity": pa.array(0.9 * weights[:, 0] + 0.1 / _ARTWORKS),
        "ranking": pa.ListArray.from_arrays(offsets, options, type=ranking),
        "source": pa.repeat("model", rows),
        "model_version": pa.repeat("tiny-llama@000000000000", rows),
        "prompt_hash": pa.array(rng.integers(-(2**63), 2**63 - 1, rows)),
        "ds": pa.repeat(pa.scalar(_DS), rows),
        "updated_at": pa.repeat(pa.scalar(datetime(2026, 1, 6, tzinfo=UTC), pa.timestamp("us", "UTC")), rows),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
