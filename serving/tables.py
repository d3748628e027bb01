"""Opens the tables that a warehouse serves, for processes without Spark."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from rich.console import Console

from schemas.contract import ContractError, Table


def open_table(warehouse: str, table: Table) -> DeltaTable:
    """The table as it is now."""
    path = f"{warehouse.rstrip('/')}/{table.name}"
    if not DeltaTable.is_deltatable(path):
        raise ContractError(f"{table.name}: there is no Delta table at {path}; has a night been run on this warehouse?")
    return DeltaTable(path)


def query(sql: str, **tables: DeltaTable) -> pa.Table:
    """The answer to `sql` over `tables`, each under the name of its argument.

    QueryBuilder reads deletion vectors, which `DeltaTable.to_pyarrow_table` refuses.
    """
    builder = QueryBuilder()
    # Else it would read every column of every row of a file, most of it rankings, to find the few rows of one user.
    builder.execute("SET datafusion.execution.parquet.pushdown_filters = true").read_all()
    for name, table in tables.items():
        builder.register(name, table)
    return pa.table(builder.execute(sql).read_all())


def rows(sql: str, **tables: DeltaTable) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query(sql, **tables).to_pylist()
    return found


def wide_console() -> Console:
    """Standard output; where it is no terminal, wide enough that captions are not broken into columns of words."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)


def literal(text: str) -> str:
    """`text` as SQL. QueryBuilder binds no parameters; hexadecimal digits can't end a literal, whatever the dialect."""
    return f"CAST(X'{text.encode().hex()}' AS VARCHAR)"


def literals(texts: Iterable[str]) -> str:
    """`texts` as the inside of an SQL IN (…); matches nothing where there are none."""
    return ", ".join(literal(text) for text in texts) or "NULL"
