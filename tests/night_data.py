"""A small literal warehouse, the start of tests of whole steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from inference.checkpoint import write_manifest
from inference.job import ScoringJob
from schemas.contract import Table
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORKS,
    IMPRESSIONS,
    SCORING_RUNS,
    TITLE_CANDIDATES,
    TITLE_CHOICES,
    TITLES,
    USER_CONTEXTS,
    VIEWING_HISTORY,
)
from spark_jobs.audit import audit
from spark_jobs.candidates import candidates
from spark_jobs.contexts import contexts
from spark_jobs.publish import publish
from spark_jobs.validate import validate
from spark_jobs.warehouse import Night, Warehouse
from tests.inference_data import make_checkpoint

DAY = date(2026, 1, 10)


def day(offset: int) -> date:
    """The day `offset` days after DAY."""
    return DAY + timedelta(days=offset)


def viewing(user: str, title: str, on: date = DAY, completion: float | None = 0.9, hour: int = 20) -> tuple[Any, ...]:
    return (user, title, datetime(on.year, on.month, on.day, hour), completion, on)


def title(
    title_id: str, name: str | None = None, genres: list[str] | None = None, synopsis: str | None = None
) -> tuple[Any, ...]:
    return (title_id, name or f"Title {title_id}", 1999, ["Drama"] if genres is None else genres, synopsis)


def artwork(
    artwork_id: str,
    title_id: str,
    caption: str | None = None,
    is_default: bool = False,
    active_from: date = date(2020, 1, 1),
    active_to: date | None = None,
) -> tuple[Any, ...]:
    return (
        artwork_id,
        title_id,
        caption or f"caption of {artwork_id}",
        ["drama"],
        None,
        is_default,
        active_from,
        active_to,
    )


def nullable(table: Table) -> StructType:
    """The table's columns as a careless owner would define them: all nullable."""
    schema = table.spark_schema()
    for one in schema.fields:
        one.nullable = True
    return schema


def default_history() -> list[tuple[Any, ...]]:
    return [
        viewing(user, title_id, day(offset))
        for user, title_id in [("u1", "t1"), ("u1", "t2"), ("u2", "t2"), ("u3", "t3"), ("u2", "t1"), ("u3", "t1")]
        for offset in (-1, 0)
    ]


def default_artworks() -> list[tuple[Any, ...]]:
    """t1 has three artworks, t2 two, t3 one."""
    return [
        artwork("a11", "t1", is_default=True),
        artwork("a12", "t1"),
        artwork("a13", "t1"),
        artwork("a21", "t2"),
        artwork("a22", "t2"),
        artwork("a31", "t3"),
    ]


def default_wanted() -> list[tuple[Any, ...]]:
    """Every title for every user, on three nights."""
    return [
        (day(offset), user, title_id, rank)
        for offset in range(3)
        for user in ("u1", "u2", "u3")
        for rank, title_id in enumerate(("t1", "t2", "t3"), start=1)
    ]


Liking = Callable[[str, list[str]], list[float]]
"""A user's probabilities of artworks."""


def _even_but_one(artwork_ids: list[str], favourite: str | None) -> list[float]:
    best = artwork_ids.index(favourite) if favourite in artwork_ids else 0
    even = 0.3 / (len(artwork_ids) - 1)
    return [0.7 if place == best else even for place in range(len(artwork_ids))]


@dataclass
class SmallWarehouse:
    """Inputs as lists of rows, and the steps of a night on them; scores come from `score`, not from a model."""

    spark: SparkSession
    settings: Settings
    history: list[tuple[Any, ...]] = field(default_factory=default_history)
    titles: list[tuple[Any, ...]] = field(default_factory=lambda: [title("t1"), title("t2"), title("t3")])
    artworks: list[tuple[Any, ...]] = field(default_factory=default_artworks)
    wanted: list[tuple[Any, ...]] = field(default_factory=default_wanted)
    impressions: list[tuple[Any, ...]] | None = None

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.spark, self.settings)

    def night(self, ds: date = DAY) -> Night:
        return Night(self.warehouse, ds)

    def write(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        """Write a whole input as a careless owner would: with all columns nullable."""
        schema = pa.schema([field.with_nullable(True) for field in table.arrow_schema()])
        content = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
        write_deltalake(
            self.warehouse.path(table), content, mode="overwrite", partition_by=list(table.partitioned_by) or None
        )

    def write_inputs(self) -> None:
        self.write(VIEWING_HISTORY, self.history)
        self.write(TITLES, self.titles)
        self.write(ARTWORKS, self.artworks)
        self.write(TITLE_CANDIDATES, self.wanted)
        if self.impressions is not None:
            self.write(IMPRESSIONS, self.impressions)

    def prepare(self, ds: date = DAY) -> Night:
        """The night up to scoring."""
        night = self.night(ds)
        for step in (validate, candidates, contexts):
            step(night)
        return night

    def score(self, ds: date = DAY, favourite: str | None = None, liking: Liking | None = None) -> None:
        """Write scores for the pairs to score: `liking`, or 0.7 for `favourite` or else the first option, the rest
        evenly.
        """
        job = ScoringJob(self.settings.warehouse, ds)
        choices = job.rows(TITLE_CHOICES, ["title_id", "ordering", "artwork_ids"])
        options = {(row["title_id"], row["ordering"]): row["artwork_ids"] for row in choices}
        scores = []
        for row in job.rows(USER_CONTEXTS, ["bucket", "user_id", "pairs"]):
            about = {"ds": ds, "bucket": row["bucket"], "user_id": row["user_id"], "model_version": "tests@1"}
            for pair in row["pairs"]:
                ids = options[pair["title_id"], pair["ordering"]]
                probabilities = liking(row["user_id"], ids) if liking else _even_but_one(ids, favourite)
                scores.append({**about, **pair, "artwork_ids": ids, "probabilities": probabilities})
        job.replace_rows(ARTWORK_SCORES, scores)
        run = dict.fromkeys(SCORING_RUNS.column_names, 0) | {
            "ds": ds,
            "pairs": len(scores),
            "label_mass": 0.99,
            "seconds": 1.0,
            "model_version": "tests@1",
            "input_fingerprint": "",
        }
        job.replace_rows(SCORING_RUNS, [run])

    def finish(self, ds: date = DAY) -> Night:
        night = self.night(ds)
        for step in (audit, publish):
            step(night)
        return night

    def run(self, ds: date = DAY, favourite: str | None = None) -> Night:
        """A whole night."""
        self.prepare(ds)
        self.score(ds, favourite)
        return self.finish(ds)

    def copied(self, folder: Path) -> SmallWarehouse:
        """The warehouse as it is on disk, copied into `folder`, with the default inputs as lists."""
        copy = self.settings.model_copy(update={"warehouse": str(folder / "warehouse")})
        shutil.copytree(self.settings.warehouse, copy.warehouse)
        return SmallWarehouse(self.spark, copy)

    def rows(self, table: Table) -> list[Any]:
        """All rows of a table, sorted."""
        frame: DataFrame = self.warehouse.read(table).select(*table.column_names)
        return sorted(frame.collect(), key=str)


def small_checkpoint(folder: Path) -> Path:
    """A random Llama whose version the Spark steps read; no test loads it."""
    write_manifest(make_checkpoint(folder), "tests")
    return folder


def small_warehouse(spark: SparkSession, folder: Path, **settings: Any) -> SmallWarehouse:
    """Inputs that are not written yet. No exploring slice, so that every pair with a choice is scored."""
    defaults = {
        "warehouse": str(folder / "warehouse"),
        "model": str(small_checkpoint(folder / "checkpoint")),
        "buckets": 2,
        "titles_per_user": 3,
        "uniform_share": 0.0,
        # In a table of three rows, one bad row is a third.
        "rejected_share_limit": 0.5,
    }
    return SmallWarehouse(spark, Settings(**{**defaults, **settings}))
