"""Literal examples and preference pairs for a tiny random Llama."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from inference.checkpoint import Checkpoint
from schemas.contract import Table
from schemas.tables import POST_TRAINING_EXAMPLES, PREFERENCE_PAIRS
from tests.inference_data import DS, choice, context
from training.data import Source, open_source
from training.settings import Common
from training.stage import Stage

VIEWINGS = ("Alien (1979): horror, sci-fi", "Big (1988): comedy", "Heat (1995): crime; left early")


def example(number: int, options: int = 4, played: bool = True, **changes: Any) -> dict[str, Any]:
    """The example of user `number`, which determines the option that was shown."""
    row = {
        "ds": DS,
        "split": "training",
        "user_id": f"u{number}",
        "title_id": "t1",
        "shown_at": datetime(2026, 1, 4, tzinfo=UTC) + timedelta(minutes=number),
        "context_key": f"u{number}@0",
        "context": context("drama", *VIEWINGS[: 1 + number % 3]),
        "choice_key": "t1@0",
        "choice": choice(f"Film {number % 5}", options),
        "artwork_ids": [f"a{place}" for place in range(options)],
        "shown": 1 + number % options,
        "propensity": 0.1 + 0.8 * (number % 2),
        "played": played,
        "play_seconds": 60.0 if played else 0.0,
        "history_titles": 1 + number % 3,
        "themes": ["drama"],
        "watched_genres": [["drama"]],
        "signals": [],
    }
    return {**row, **changes}


def pair(of: dict[str, Any], negative: str = "like_users", after: int = 1, weight: float = 1.0) -> dict[str, Any]:
    """A preference pair of an example: the option `after` places after the shown one is rejected."""
    key = {name: of[name] for name in ("ds", "user_id", "title_id", "shown_at")}
    rejected = (of["shown"] - 1 + after) % len(of["artwork_ids"]) + 1
    return {**key, "chosen": of["shown"], "rejected": rejected, "negative": negative, "weight": weight}


def make_source(warehouse: Path, examples: list[dict[str, Any]], pairs: list[dict[str, Any]] | None = None) -> Source:
    tables: list[tuple[Table, list[dict[str, Any]]]] = [(POST_TRAINING_EXAMPLES, examples)]
    if pairs is not None:
        tables.append((PREFERENCE_PAIRS, pairs))
    for table, rows in tables:
        batch = pa.Table.from_pylist(rows, schema=table.arrow_schema())
        write_deltalake(str(warehouse / table.name), batch, partition_by=list(table.partitioned_by))
    return open_source(str(warehouse), DS, [table for table, _ in tables])


def stage(name: str, base: Checkpoint, out: Path, recipe: Common, source: Source) -> Stage:
    return Stage(name, base, out, recipe, source)
