"""A scoring job: the tables of its questions, the tables for its scores, and their keys. A night is one job, the
held-out questions of post-training are another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from inference.checkpoint import Checkpoint, quantization_of, read_checkpoint
from schemas import store
from schemas.contract import ContractError, Table
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTIONS,
    HELD_OUT_CHOICES,
    HELD_OUT_CONTEXTS,
    HELD_OUT_RUNS,
    HELD_OUT_SCORES,
    NIGHT_MODELS,
    NIGHT_STEPS,
    POST_TRAINING_STEPS,
    REJECTED_ROWS,
    SCORING_RUNS,
    TITLE_CHOICES,
    USER_CONTEXTS,
)


@dataclass(frozen=True)
class ScoringJob:
    """The scoring of one night, unless other tables are given. Each table is read at the version of its first read.

    The questions are in `warehouse`; scoring writes to tables in `into`, by default the same warehouse.
    """

    warehouse: str
    ds: date
    into: str | None = None
    contexts: Table = USER_CONTEXTS
    choices: Table = TITLE_CHOICES
    scores: Table = ARTWORK_SCORES
    runs: Table = SCORING_RUNS
    steps: Table = NIGHT_STEPS
    buckets_of: Table = ARTWORK_SELECTIONS
    """The table whose property is the number of buckets."""
    written_by: str = "contexts"
    """The step that writes the questions."""
    step: str = "score"
    """Its name in `rejected_rows` and `steps`."""
    model_version: str | None = None
    """Name of these scores, if the table holds scores of several models side by side."""
    _opened: dict[str, DeltaTable] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, str]:
        """The columns that name a context and a choice: in a night, user_id and title_id."""
        context, choice = self.scores.key[-2:]
        return context, choice

    def shard_name(self, shard: int) -> str:
        """A shard's name in `steps`; held-out questions are a single shard."""
        return f"{self.step}_{shard}" if self.model_version is None else self.step

    def create_missing(self) -> None:
        """Create missing output tables. The step validate creates a night's own, but not those in `into`."""
        made = (self.scores, self.runs, self.steps, REJECTED_ROWS) if self.into or self.model_version else ()
        for table in made:
            store.create(self._warehouse_of(table), table)

    @cached_property
    def buckets(self) -> int:
        """The number of buckets that the questions were divided into."""
        return store.buckets_of(store.open_table(self.warehouse, self.buckets_of), self.buckets_of)

    def noted_model(self) -> Checkpoint:
        """The model that the night noted when it began. Raises ContractError if its checkpoint has changed since."""
        noted = next(self.rows(NIGHT_MODELS, ["model_version", "checkpoint"]), None)
        if noted is None:
            raise ContractError(
                f"night_models: nothing noted for ds={self.ds}; run the step validate first, or give a --model"
            )
        checkpoint = read_checkpoint(noted["checkpoint"]).quantized(quantization_of(noted["model_version"]))
        if checkpoint.version != noted["model_version"]:
            raise ContractError(
                f"{checkpoint.path}: the checkpoint is {checkpoint.version}, but the night of {self.ds} began with "
                f"{noted['model_version']}: put that one back, or begin the night again (step validate)"
            )
        return checkpoint

    def rows(self, table: Table, columns: list[str], **partition: object) -> Iterator[dict[str, Any]]:
        """The job's rows of a table, or of one partition of it, in stored order."""
        if table.name not in self._opened:
            self._opened[table.name] = store.open_table(self._warehouse_of(table), table)
        yield from store.stored_rows(self._opened[table.name], table, columns, **self._all_of(table, partition))

    def replace(self, table: Table, batches: Iterable[pa.RecordBatch], **partition: object) -> None:
        """`store.replace` of one partition of the job's rows."""
        store.replace(self._warehouse_of(table), table, batches, **self._all_of(table, partition))

    def replace_rows(self, table: Table, rows: list[dict[str, Any]], **partition: object) -> None:
        """`store.replace_rows` of one partition of the job's rows."""
        store.replace_rows(self._warehouse_of(table), table, rows, **self._all_of(table, partition))

    def _warehouse_of(self, table: Table) -> str:
        is_written = table in (self.scores, self.runs, self.steps, REJECTED_ROWS)
        return self.into if self.into and is_written else self.warehouse

    def _all_of(self, table: Table, partition: dict[str, object]) -> dict[str, object]:
        by_model = self.model_version is not None and table in (self.scores, self.runs)
        return {"ds": self.ds, **({"model_version": self.model_version} if by_model else {}), **partition}


def held_out_job(warehouse: str, ds: date, model_version: str) -> ScoringJob:
    """The scoring of the held-out questions of `ds`, stored under the name `model_version`."""
    return ScoringJob(
        warehouse,
        ds,
        contexts=HELD_OUT_CONTEXTS,
        choices=HELD_OUT_CHOICES,
        scores=HELD_OUT_SCORES,
        runs=HELD_OUT_RUNS,
        steps=POST_TRAINING_STEPS,
        buckets_of=HELD_OUT_CONTEXTS,
        written_by="examples",
        step=f"score_held_out {model_version}",
        model_version=model_version,
    )
