"""A step of a night or of post-training: timed, and noted in `night_steps` whether it succeeds or fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date

from schemas.contract import Table
from schemas.erased import erasing
from schemas.events import report_counts
from schemas.exit_codes import cause
from schemas.store import replace_rows
from schemas.telemetry import emit_step

_FAILED = " failed"


@contextmanager
def noted_step(warehouse: str, table: Table, ds: date, name: str) -> Iterator[dict[str, int]]:
    """Time the block, which counts into the yielded mapping, and write its row to `table`.

    If the block raises, its row is `NAME failed`, with the cause, until the step succeeds: what an earlier run of the
    step has done still holds. Rows of users who are erased during the block are deleted again.
    """
    counts: dict[str, int] = {}
    began = time.monotonic()
    try:
        with erasing(warehouse):
            yield counts
    except Exception as error:
        note_failure(warehouse, table, ds, name, error, time.monotonic() - began, counts)
        raise
    seconds = time.monotonic() - began
    _note(warehouse, table, ds, name, seconds, counts, None)
    replace_rows(warehouse, table, [], ds=ds, step=name + _FAILED)
    report_counts(name, seconds, counts)


def note_failure(
    warehouse: str, table: Table, ds: date, name: str, error: Exception, seconds: float, counts: Mapping[str, int]
) -> None:
    """Write the row of a step that has failed. The error itself matters more than its row, which cannot be written to a
    full disk or a missing table.
    """
    with suppress(Exception):
        _note(warehouse, table, ds, name, seconds, counts, cause(error))


def _note(
    warehouse: str, table: Table, ds: date, name: str, seconds: float, counts: Mapping[str, int], failed: str | None
) -> None:
    step = name if failed is None else name + _FAILED
    row = {"ds": ds, "step": step, "seconds": seconds, "counts": list(counts.items()), "failed": failed}
    replace_rows(warehouse, table, [row], ds=ds, step=step)
    emit_step(name, ds, seconds, counts, failed)


def failed_step(step: str) -> str:
    """The step of a row with a cause in `failed`."""
    return step.removesuffix(_FAILED)
