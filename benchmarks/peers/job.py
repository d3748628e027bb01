"""The input and the result of a side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.prompt_bucket import prompts_file
from inference.checkpoint import Checkpoint, read_checkpoint
from inference.tokens import Tokens
from schemas.settings import Settings

_PAIR = [("user_id", pa.string()), ("title_id", pa.string())]
SCORES = pa.schema([*_PAIR, ("probabilities", pa.list_(pa.float64())), ("answer", pa.int32())])
"""A side's scores: probabilities by option, or the option that its text names (null if it names none)."""


@dataclass(frozen=True)
class Job:
    """Score the nights in `warehouse` with the model of the settings, into the folder `into`."""

    warehouse: str
    into: str = ""

    @cached_property
    def settings(self) -> Settings:
        """The settings of the environment, the same for every side."""
        return Settings().model_copy(update={"warehouse": self.warehouse})

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return read_checkpoint(self.settings.model)

    @cached_property
    def labels(self) -> list[int]:
        """Token ids of the option numbers."""
        return Tokens(self.checkpoint).labels

    def prompts(self, ds: date) -> list[dict[str, Any]]:
        """The flat table: user_id, title_id, options, prompt."""
        rows: list[dict[str, Any]] = pq.read_table(prompts_file(Path(self.warehouse), ds)).to_pylist()
        return rows

    def keep(self, ds: date, rows: list[dict[str, Any]]) -> Callable[[], list[dict[str, Any]]]:
        """Write scores to disk; the returned function reads them back."""
        file = Path(self.into) / f"{ds}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, SCORES), file)
        return lambda: list(pq.read_table(file).to_pylist())


@dataclass(frozen=True)
class Scored:
    """The result of scoring a night. `scores` reads the rows of SCORES, outside the timed part."""

    prompt_tokens: int
    computed_tokens: int | None
    """Tokens that went through the model: cached ones excluded, generated ones included; None if unknown."""
    scores: Callable[[], list[dict[str, Any]]]


def score_row(row: dict[str, Any], probabilities: list[float] | None, answer: int | None = None) -> dict[str, Any]:
    """A row of SCORES for a row of the flat table."""
    pair = {"user_id": row["user_id"], "title_id": row["title_id"]}
    return {**pair, "probabilities": probabilities, "answer": answer}
