"""The one place where the vLLM stage reads and writes Delta tables, with delta-rs."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError
from pyarrow.dataset import get_partition_keys

from inference.checkpoint import Checkpoint, quantization_of, read_checkpoint
from schemas.contract import ContractError, Table
from schemas.store import arrow_dataset, buckets_of, location, open_table, permitted
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTIONS,
    NIGHT_MODELS,
    NIGHT_STEPS,
    REJECTED_ROWS,
    SCORING_RUNS,
)

SCORED = (ARTWORK_SCORES, REJECTED_ROWS, SCORING_RUNS, NIGHT_STEPS)
"""The tables that the stage writes."""

# Rows of user_contexts in one Arrow batch: about a megabyte of text.
_BATCH_ROWS = 1024
# Other shards commit to the same tables all the time. delta-rs checks each such commit against ours and tries again.
_COMMIT = CommitProperties(max_commit_retries=100)
_ATTEMPTS = 5
# A row group is in memory until it is full; by default that is a million rows.
_PARQUET = WriterProperties(max_row_group_size=2**16)


@dataclass(frozen=True)
class ScoringTables:
    """The tables that scoring reads and writes, of one night: each read at the version that it had when it was first
    read.

    What is asked (`user_contexts`, `title_choices`, the number of buckets) is in `warehouse`; the tables that the stage
    makes are in `into`, which is the same warehouse unless another is named.
    """

    warehouse: str
    ds: date
    into: str | None = None
    _opened: dict[str, DeltaTable] = field(default_factory=dict)

    def path(self, table: Table) -> str:
        return location(self._place(table), table)

    def _place(self, table: Table) -> str:
        return self.into if self.into and table in SCORED else self.warehouse

    def create_missing(self) -> None:
        """Make the tables of `into`; those of a warehouse are made by the step validate."""
        for table in SCORED if self.into else ():
            table.create(self.path(table))

    @cached_property
    def buckets(self) -> int:
        """The number of buckets that this warehouse was made with."""
        return buckets_of(self._latest(ARTWORK_SELECTIONS))

    def model(self) -> Checkpoint:
        """The model that the night noted when it began. Raises ContractError where its checkpoint has changed since."""
        noted = next(self.rows(NIGHT_MODELS, ["model_version", "checkpoint"]), None)
        if noted is None:
            raise ContractError(
                f"night_models: nothing noted for ds={self.ds}; run the step validate first, or name a --model"
            )
        checkpoint = read_checkpoint(noted["checkpoint"]).quantized(quantization_of(noted["model_version"]))
        if checkpoint.version != noted["model_version"]:
            raise ContractError(
                f"{checkpoint.path}: the checkpoint is {checkpoint.version}, but the night of {self.ds} began with "
                f"{noted['model_version']}: put that one back, or begin the night again (step validate)"
            )
        return checkpoint

    def batches(self, table: Table, columns: list[str], **partition: object) -> Iterator[pa.RecordBatch]:
        """The rows of one partition of tonight as a stream, in the order in which they are stored."""
        if table.name not in self._opened:
            self._opened[table.name] = self._latest(table)
        dataset = arrow_dataset(self._opened[table.name], table, file_pruning_predicate=self._filters(partition))
        missing = sorted(set(columns) - set(dataset.schema.names))
        if missing:
            raise ContractError(f"{self.path(table)}: columns {', '.join(missing)} are missing (schemas/tables.py)")
        schema = pa.schema([dataset.schema.field(name) for name in columns])
        with permitted(**{table.name: self.path(table)}):
            for fragment in dataset.get_fragments():
                # The dataset's own batches are cut out of a row group that is decoded whole: it may be a whole bucket.
                with pq.ParquetFile(fragment.open()) as file:
                    stored = [name for name in columns if name in file.schema_arrow.names]
                    values = get_partition_keys(fragment.partition_expression)
                    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=stored, use_threads=False):
                        yield _as_declared(batch, schema, values)

    def rows(self, table: Table, columns: list[str], **partition: object) -> Iterator[dict[str, Any]]:
        for batch in self.batches(table, columns, **partition):
            yield from batch.to_pylist()

    def has_rows(self, table: Table, **partition: object) -> bool:
        """Whether the partition has a file, now."""
        return bool(self._latest(table).file_uris(file_pruning_predicate=self._filters(partition)))

    def replace(self, table: Table, batches: Iterable[pa.RecordBatch], **partition: object) -> None:
        """Write a stream of rows as the whole of one partition of tonight, in one commit.

        Nothing is written of a stream that ends with an error, or where there was nothing and is nothing.
        """
        stream = iter(batches)
        first = next(stream, None)
        if first is None and not self.has_rows(table, **partition):
            return
        rows = pa.RecordBatchReader.from_batches(table.arrow_schema(), _chained(first, stream))
        values = [f"{column} = {_literal(value)}" for column, value in self._partition(partition).items()]
        write_deltalake(
            self._latest(table),
            rows,
            mode="overwrite",
            predicate=" AND ".join(values),
            writer_properties=_PARQUET,
            commit_properties=_COMMIT,
        )

    def replace_rows(self, table: Table, rows: list[dict[str, Any]], **partition: object) -> None:
        """As `replace`, with a few rows in memory; tried again if someone else changed the same partition meanwhile."""
        batches = [pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema())] if rows else []
        for attempt in range(1, _ATTEMPTS):
            try:
                self.replace(table, batches, **partition)
            except CommitFailedError:
                time.sleep(random.uniform(0, attempt))
            else:
                return
        self.replace(table, batches, **partition)

    def _latest(self, table: Table) -> DeltaTable:
        return open_table(self._place(table), table)

    def _partition(self, partition: dict[str, object]) -> dict[str, object]:
        return {"ds": self.ds, **partition}

    def _filters(self, partition: dict[str, object]) -> list[tuple[str, str, str]]:
        return [(column, "=", str(value)) for column, value in self._partition(partition).items()]


def _as_declared(batch: pa.RecordBatch, schema: pa.Schema, values: dict[str, object]) -> pa.RecordBatch:
    """A batch as a file has it, in the table's types; what the file lacks is one of `values` in every row, or null."""
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.repeat(pa.scalar(values.get(field.name), field.type), batch.num_rows)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


def _chained(first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if first is not None:
        yield first
    yield from rest
