"""Counts and hashes the rows of every table, independent of row order and files and without measured times, to compare
two runs (`marquee fingerprint`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from rich.table import Table

from schemas import tables
from schemas.contract import ContractError
from schemas.contract import Table as Contract
from schemas.store import NoTableError, batches, open_table

MEASURED_TABLES = {"night_steps", "night_inputs", "post_training_steps"}
"""Tables of clock times and commit numbers, which differ from run to run."""
_OF_A_RUN = {"seconds", "cached_tokens"}
MEASURED_COLUMNS = {"scoring_runs": _OF_A_RUN, "held_out_runs": _OF_A_RUN}
"""Columns that differ from run to run: how long a bucket took, and what happened to be cached."""

TableHash = tuple[int, int]
"""Number of rows, and the sum of their hashes modulo 2¹²⁸, which does not depend on row order."""


def table_hash(batches: Iterator[pa.RecordBatch]) -> TableHash:
    rows = total = 0
    for batch in batches:
        for row in batch.to_pylist():
            rows += 1
            total += int.from_bytes(hashlib.blake2b(_canonical(row), digest_size=16).digest())
    return rows, total % 2**128


def _canonical(row: dict[str, Any]) -> bytes:
    # repr of a double keeps every bit; str of dates and times is their ISO form.
    return json.dumps(row, sort_keys=True, default=str, ensure_ascii=False).encode()


def hash_of(warehouse: str, table: Contract) -> TableHash | None:
    """The rows and hash of a table; None if it does not exist."""
    try:
        opened = open_table(warehouse, table)
    except NoTableError:
        return None
    left_out = MEASURED_COLUMNS.get(table.name, set())
    columns = ", ".join(f'"{name}"' for name in table.column_names if name not in left_out)
    return table_hash(batches(f"SELECT {columns} FROM {table.name}", **{table.name: opened}))


def fingerprints(warehouse: str) -> dict[str, TableHash]:
    """Rows and hash of every existing table, except MEASURED_TABLES. Raises ContractError if there is none."""
    compared = [table for table in tables.TABLES.values() if table.name not in MEASURED_TABLES]
    found = {table.name: hash_of(warehouse, table) for table in compared}
    there = {name: one for name, one in found.items() if one is not None}
    if not there:
        raise ContractError(f"there are no tables in {warehouse}")
    return there


def fingerprint_table(ours: dict[str, TableHash], theirs: dict[str, TableHash] | None) -> Table:
    """The fingerprint as a table; with `theirs`, whether each table is equal."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("table", "rows", "hash", *(("rows there", "equal") if theirs is not None else ())):
        table.add_column(column, justify="right" if column.startswith("rows") else "left")
    for name in [name for name in tables.TABLES if name in ours or name in (theirs or {})]:
        cells = [name, *_cells(ours.get(name))]
        if theirs is not None:
            same = ours.get(name) == theirs.get(name)
            cells += [_cells(theirs.get(name))[0], "yes" if same else "[bold red]no[/bold red]"]
        table.add_row(*cells)
    return table


def _cells(one: TableHash | None) -> tuple[str, str]:
    return (f"{one[0]:,}", f"{one[1]:032x}") if one else ("absent", "")
