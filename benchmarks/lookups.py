"""Looking one pair up in `artwork_selections` as the table grows: time and bytes read.

Lookups use serving/selections.py and keep the table open, as a service does. The table has one bucket per 10,000 users
and one file per bucket, as after maintenance.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks import harness
from benchmarks.harness import Row, Table
from benchmarks.prompt_bucket import TITLES_PER_USER
from schemas.buckets import bucket_of
from schemas.store import create
from schemas.tables import ARTWORK_SELECTIONS, TITLE_DEFAULTS, buckets_kept
from serving.selections import Selections

_USERS_A_BUCKET = 10_000
_TITLES, _ARTWORKS = 200, 8
# The first lookups import, compile and fill the page cache.
_WARM_UPS = 3


def make_selections(warehouse: Path, rows: int) -> None:
    """Write the table and an empty `title_defaults` into a new folder. Users u0, u1, … have TITLES_PER_USER rows."""
    users = rows // TITLES_PER_USER
    buckets = -(-users // _USERS_A_BUCKET)
    by_bucket: dict[int, list[str]] = defaultdict(list)
    for number in range(users):
        by_bucket[bucket_of(f"u{number}", buckets)].append(f"u{number}")
    for table in (TITLE_DEFAULTS, ARTWORK_SELECTIONS):
        create(str(warehouse), table, **buckets_kept(table, buckets))
    path = str(warehouse / ARTWORK_SELECTIONS.name)
    for bucket, members in sorted(by_bucket.items()):
        write_deltalake(path, bucket_rows(bucket, members), mode="append")
    # Spark writes a checkpoint with every tenth commit.
    DeltaTable(path).create_checkpoint()


def titles_of(user_id: str) -> np.ndarray:
    """The numbers of a user's titles."""
    return (int(user_id[1:]) * 7 + np.arange(TITLES_PER_USER) * (_TITLES // TITLES_PER_USER)) % _TITLES


def bucket_rows(bucket: int, users: list[str]) -> pa.RecordBatch:
    """The rows of one bucket in random order, each with a distribution over 8 artworks."""
    rng, schema = np.random.default_rng(bucket), ARTWORK_SELECTIONS.arrow_schema()
    rows = len(users) * TITLES_PER_USER
    order = rng.permutation(rows)
    titles = np.concatenate([titles_of(user) for user in users])[order]
    artworks = pa.array([f"t{title}-{number}" for title in range(_TITLES) for number in range(_ARTWORKS)])
    probabilities = -np.sort(-rng.dirichlet(np.ones(_ARTWORKS), rows), axis=1)
    propensities = 0.9 * probabilities + 0.1 / _ARTWORKS
    ids = artworks.take(pa.array((titles[:, None] * _ARTWORKS + np.arange(_ARTWORKS)).ravel()))
    ranking = schema.field("ranking").type
    options = [ids, pa.array(probabilities.ravel()), pa.array(propensities.ravel())]
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * _ARTWORKS)
    columns = {
        "bucket": pa.array(np.full(rows, bucket, np.int32)),
        "user_id": pa.array(users).take(pa.array(order // TITLES_PER_USER)),
        "title_id": pa.array([f"t{title}" for title in titles]),
        "artwork_id": artworks.take(pa.array(titles * _ARTWORKS)),
        "probability": pa.array(probabilities[:, 0]),
        "propensity": pa.array(propensities[:, 0]),
        "ranking": pa.ListArray.from_arrays(
            offsets, pa.StructArray.from_arrays(options, fields=list(ranking.value_type)), type=ranking
        ),
        "source": pa.repeat("model", rows),
        "model_version": pa.repeat("tiny-llama@000000000000", rows),
        "prompt_hash": pa.array(rng.integers(-(2**63), 2**63 - 1, rows)),
        "ds": pa.repeat(pa.scalar(date(2026, 1, 5)), rows),
        "updated_at": pa.repeat(pa.scalar(datetime(2026, 1, 6, tzinfo=UTC), pa.timestamp("us", "UTC")), rows),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def looked_up(selections: Selections, pairs: list[tuple[str, str]]) -> Row:
    """Medians over the lookups of `pairs`, without the warm-ups. Raises LookupError if a pair is not found."""
    process, found = psutil.Process(), []
    for user_id, title_id in pairs:
        read, began = process.io_counters().read_chars, time.perf_counter()
        if selections.of_pair(user_id, title_id) is None:
            raise LookupError(f"{user_id}, {title_id}: no row was found")
        found.append((1000 * (time.perf_counter() - began), (process.io_counters().read_chars - read) / 1024))
    milliseconds, kilobytes = zip(*found[_WARM_UPS:], strict=True)
    return {"ms": median(milliseconds), "slowest": max(milliseconds), "KiB read": median(kilobytes)}


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Table]:
    warehouse = folder / "warehouse"
    for rows in arguments.rows:
        make_selections(warehouse, rows)
        numbers = np.random.default_rng(rows).integers(rows // TITLES_PER_USER, size=_WARM_UPS + arguments.lookups)
        pairs = [(f"u{number}", f"t{titles_of(f'u{number}')[number % TITLES_PER_USER]}") for number in numbers]
        selections = Selections.of(str(warehouse))
        size = sum(file.stat().st_size for file in warehouse.rglob("bucket=*/*.parquet")) / 2**20
        about: Row = {"rows": rows, "buckets": selections.buckets, "MB": size}
        yield f"One pair of {rows:,}", [{**about, **looked_up(selections, pairs)}]
        shutil.rmtree(warehouse)


def main(arguments: list[str]) -> int:
    parser = harness.parser("lookups", __doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6], help="sizes of the table")
    parser.add_argument("--lookups", type=int, default=20, help="lookups in each table")
    return harness.run(parser, arguments, measure)
