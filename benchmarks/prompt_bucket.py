"""A night for measuring: one bucket of users, each with 20 pairs; contexts near 300 tokens, choices near 80.

Every side finds the same pairs on disk in the form that it would have: Marquee as `user_contexts` and `title_choices`,
the others as a flat table of one prompt text per pair (`prompts/<ds>.parquet`), in the order of a hash of the pair,
which is how the shuffle of a join leaves a table. A second, tiny night is there to warm a side up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema, write_deltalake

from examples.catalogue import Title, generator, make_artworks, make_title
from schemas.contract import Table
from schemas.tables import ARTWORK_SELECTIONS, BUCKETS_PROPERTY, TITLE_CHOICES, USER_CONTEXTS
from schemas.words import ANSWER, VIEWING

WARM_UP, MEASURED = date(2026, 1, 1), date(2026, 1, 2)
WARM_UP_USERS = 4
TITLES_PER_USER = 20

_SEED = 7
_CATALOGUE = 100
# Of the simulated service's texts, this many come to the tokens that the module promises.
_VIEWINGS, _OPTIONS = 18, 3
_USERS_AT_ONCE = 1000

PROMPTS = pa.schema(
    [("user_id", pa.string()), ("title_id", pa.string()), ("options", pa.int32()), ("prompt", pa.string())]
)


def make_nights(warehouse: Path, users: int) -> None:
    """Make both nights in a new folder: MEASURED with `users` users, WARM_UP with a few others."""
    titles = [make_title(_SEED, f"t{number}") for number in range(_CATALOGUE)]
    choices = [row for title in titles if (row := choice_row(title))]
    for table in (USER_CONTEXTS, TITLE_CHOICES, ARTWORK_SELECTIONS):
        _create(warehouse, table)
    (warehouse / "prompts").mkdir()
    for ds, first, count in ((WARM_UP, users, WARM_UP_USERS), (MEASURED, 0, users)):
        _append(warehouse, TITLE_CHOICES, [{**row, "ds": ds} for row in choices])
        # By user_id, as a night's job writes a bucket.
        user_ids = sorted(f"u{number}" for number in range(first, first + count))
        for start in range(0, count, _USERS_AT_ONCE):
            some = user_ids[start : start + _USERS_AT_ONCE]
            _append(warehouse, USER_CONTEXTS, [{**context_row(user, titles, choices), "ds": ds} for user in some])
        rows = [row for user in user_ids for row in prompt_rows(context_row(user, titles, choices), choices)]
        rows.sort(key=lambda row: crc32(f"{row['user_id']} {row['title_id']}".encode()))
        pq.write_table(pa.Table.from_pylist(rows, PROMPTS), prompts_file(warehouse, ds))


def prompts_file(warehouse: Path, ds: date) -> Path:
    return warehouse / "prompts" / f"{ds}.parquet"


def choice_row(title: Title) -> dict[str, Any] | None:
    """A row of `title_choices` without its ds; None where the title has too few artworks."""
    artworks = make_artworks(_SEED, title, WARM_UP, MEASURED)[:_OPTIONS]
    if len(artworks) < _OPTIONS:
        return None
    options = "".join(f"{number}. {artwork.caption}\n" for number, artwork in enumerate(artworks, 1))
    return {
        "title_id": title.title_id,
        "ordering": 0,
        "artwork_ids": [artwork.artwork_id for artwork in artworks],
        "choice": f"Title: {_line(title)}\n{options}{ANSWER}",
        "choice_hash": 0,
    }


def context_row(user_id: str, titles: list[Title], choices: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of `user_contexts` without its ds: it depends on the user alone."""
    rng = generator(_SEED, "user", user_id)
    watched = [titles[index] for index in rng.choice(len(titles), _VIEWINGS, replace=False)]
    themes = list(dict.fromkeys(genre for title in watched for genre in title.genres))[:5]
    history = "".join(f"{VIEWING}{_line(title)}\n" for title in watched)
    asked = [choices[index]["title_id"] for index in rng.choice(len(choices), TITLES_PER_USER, replace=False)]
    return {
        "bucket": 0,
        "user_id": user_id,
        "context": (
            "Choose the artwork that the user is most likely to play.\n"
            f"Leading themes: {', '.join(themes)}\nWatched, latest first:\n{history}"
        ),
        "pairs": [{"title_id": title_id, "ordering": 0, "prompt_hash": crc32(title_id.encode())} for title_id in asked],
    }


def prompt_rows(context: dict[str, Any], choices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pairs of a row of `user_contexts` as whole prompts."""
    texts = {row["title_id"]: row["choice"] for row in choices}
    for pair in context["pairs"]:
        prompt = context["context"] + texts[pair["title_id"]]
        yield {"user_id": context["user_id"], "title_id": pair["title_id"], "options": _OPTIONS, "prompt": prompt}


def _line(title: Title) -> str:
    year = f" ({title.release_year})" if title.release_year else ""
    return f"{title.name}{year}: {', '.join(title.genres)}"


def _create(warehouse: Path, table: Table) -> None:
    DeltaTable.create(
        str(warehouse / table.name),
        Schema.from_json(json.dumps(table.delta_json())),
        partition_by=list(table.partitioned_by),
        configuration={BUCKETS_PROPERTY: "1"} if table is ARTWORK_SELECTIONS else None,
        raise_if_key_not_exists=False,
    )


def _append(warehouse: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema())
    write_deltalake(str(warehouse / table.name), batch, mode="append")
