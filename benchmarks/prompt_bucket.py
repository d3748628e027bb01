"""A made-up night to score: users with 20 pairs each, contexts of about 300 tokens, choices of about 80.

Every side reads the same pairs from disk, each in its usual form: Marquee from `user_contexts` and `title_choices`, the
others from a flat table with one prompt text per pair (`prompts/<ds>.parquet`), in the order of a hash of the pair, as
the shuffle of a join leaves it. A second, tiny night is the warm-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from examples.catalogue import Title, generator, make_artworks, make_title
from schemas.buckets import bucket_of
from schemas.contract import Table
from schemas.prompt import Choice, Context, Option, Viewing
from schemas.store import create
from schemas.tables import ARTWORK_SELECTIONS, TITLE_CHOICES, USER_CONTEXTS, buckets_kept

WARM_UP, MEASURED = date(2026, 1, 1), date(2026, 1, 2)
WARM_UP_USERS = 4
TITLES_PER_USER = 20

_SEED = 7
_CATALOGUE = 100
# With these counts, the simulated service's texts have the numbers of tokens given above.
_VIEWINGS, OPTIONS = 18, 3

_TEXT = pa.string()
PROMPTS = pa.schema([("user_id", _TEXT), ("title_id", _TEXT), ("options", pa.int32()), ("prompt", _TEXT)])


def make_nights(warehouse: Path, users: int, buckets: int = 1) -> None:
    """Make both nights in a new folder: MEASURED with `users` users, WARM_UP with a few others."""
    titles = [make_title(_SEED, f"t{number}") for number in range(_CATALOGUE)]
    choices = [row for title in titles if (row := choice_row(title))]
    for table in (USER_CONTEXTS, TITLE_CHOICES, ARTWORK_SELECTIONS):
        create(str(warehouse), table, **buckets_kept(table, buckets))
    (warehouse / "prompts").mkdir()
    for ds, first, count in ((WARM_UP, users, WARM_UP_USERS), (MEASURED, 0, users)):
        _append(warehouse, TITLE_CHOICES, [{**row, "ds": ds} for row in choices])
        # Sorted, as the step contexts writes a bucket.
        user_ids = sorted(f"u{number}" for number in range(first, first + count))
        contexts = [context_row(user_id, titles, choices) for user_id in user_ids]
        for row in contexts:
            row |= {"ds": ds, "bucket": bucket_of(row["user_id"], buckets)}
        _append(warehouse, USER_CONTEXTS, contexts)
        rows = [row for context in contexts for row in prompt_rows(context, choices)]
        rows.sort(key=lambda row: crc32(f"{row['user_id']} {row['title_id']}".encode()))
        pq.write_table(pa.Table.from_pylist(rows, PROMPTS), prompts_file(warehouse, ds))


def prompts_file(warehouse: Path, ds: date) -> Path:
    return warehouse / "prompts" / f"{ds}.parquet"


def choice_row(title: Title) -> dict[str, Any] | None:
    """A row of `title_choices` without its ds; None if the title has too few artworks."""
    artworks = make_artworks(_SEED, title, WARM_UP, MEASURED)[:OPTIONS]
    if len(artworks) < OPTIONS:
        return None
    return {
        "title_id": title.title_id,
        "ordering": 0,
        "artwork_ids": [artwork.artwork_id for artwork in artworks],
        "choice": Choice(_line(title), tuple(Option(artwork.caption) for artwork in artworks)).text,
        "choice_hash": 0,
    }


def context_row(user_id: str, titles: list[Title], choices: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of `user_contexts` without its ds and bucket; it depends on the user alone."""
    rng = generator(_SEED, "user", user_id)
    watched = [titles[index] for index in rng.choice(len(titles), _VIEWINGS, replace=False)]
    themes = tuple(dict.fromkeys(genre for title in watched for genre in title.genres))[:5]
    asked = [choices[index]["title_id"] for index in rng.choice(len(choices), TITLES_PER_USER, replace=False)]
    return {
        "user_id": user_id,
        "context": Context(themes, tuple(Viewing(_line(title)) for title in watched)).text,
        "pairs": [{"title_id": title_id, "ordering": 0, "prompt_hash": crc32(title_id.encode())} for title_id in asked],
    }


def prompt_rows(context: dict[str, Any], choices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pairs of a row of `user_contexts` as whole prompts."""
    texts = {row["title_id"]: row["choice"] for row in choices}
    for pair in context["pairs"]:
        prompt = context["context"] + texts[pair["title_id"]]
        yield {"user_id": context["user_id"], "title_id": pair["title_id"], "options": OPTIONS, "prompt": prompt}


def _line(title: Title) -> str:
    year = f" ({title.release_year})" if title.release_year else ""
    return f"{title.name}{year}: {', '.join(title.genres)}"


def _append(warehouse: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    write_deltalake(str(warehouse / table.name), pa.Table.from_pylist(rows, table.arrow_schema()), mode="append")
