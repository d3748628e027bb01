"""How a process without Spark opens and reads a Delta table, and the errors that it raises where it cannot.

Two readers: DataFusion, by `batches`, `query` and `rows`, copes with the features that owners of inputs turn on
(deletion vectors, column mapping) and promises no order; PyArrow, by `arrow_dataset`, keeps the order and reads tables
that Marquee writes. What neither can read is named, with the remedy.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.contract import ContractError, Table
from schemas.tables import BUCKETS_PROPERTY, VIEWING_HISTORY

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyarrow.dataset import FileSystemDataset

_UNSUPPORTED = re.compile(r"Unsupported table features required: \[(.*?)\]|reader features: \{(.*?)\}")
_MAPPING = "delta.columnMapping.mode"


class NoTableError(ContractError):
    """There is no such table."""


def location(warehouse: str, table: Table) -> str:
    """The path or URI of a table."""
    return f"{warehouse.rstrip('/')}/{table.name}"


def open_table(
    warehouse: str, table: Table, version: int | None = None, remedy: str = "has a night been run on this warehouse?"
) -> DeltaTable:
    """The table as it is now, or as it was at a version; ContractError where it can't be opened, NoTableError where
    it is not there.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    path = location(warehouse, table)
    try:
        return DeltaTable(path, version=version)
    except TableNotFoundError as error:
        check_permission(table.name, path)
        raise NoTableError(f"{table.name}: there is no Delta table at {path}; {remedy}") from error
    except (DeltaError, OSError) as error:
        check_permission(table.name, path)
        at = "" if version is None else f" at version {version}"
        raise ContractError(f"{table.name}: {path} cannot be read{at}: {error}") from error


def has_table(warehouse: str, table: Table) -> bool:
    """Whether there is such a table. Raises ContractError where this user may not find that out."""
    from deltalake import DeltaTable

    path = location(warehouse, table)
    with permitted(**{table.name: path}):
        found = DeltaTable.is_deltatable(path)
    if not found:
        check_permission(table.name, path)
    return found


def check_permission(name: str, path: str) -> None:
    """Raise ContractError that names what this user may not read of a table in a folder. To delta-rs a table behind a
    folder that may not be entered is none.
    """
    if "://" in path:
        return
    for each in [*reversed(Path(path).parents), Path(path)]:
        if each.exists() and not os.access(each, os.X_OK):
            raise _denied(name, each)
    for folder, folders, files in os.walk(path):
        for inner in [*(Path(folder, each) for each in folders), *(Path(folder, each) for each in files)]:
            if not os.access(inner, os.R_OK | (os.X_OK if inner.is_dir() else 0)):
                raise _denied(name, inner)


@contextmanager
def permitted(**paths: str) -> Iterator[None]:
    """Raise ContractError, as `check_permission` does, where reading tables meets what this user may not read."""
    try:
        yield
    except Exception as error:
        if "Permission denied" in str(error):
            for name, path in paths.items():
                check_permission(name, path)
        raise


def _denied(name: str, place: Path) -> ContractError:
    kept = place.stat()
    return ContractError(
        f"{name}: {place} ({stat.filemode(kept.st_mode)}, of user {kept.st_uid}) may not be read by the user "
        f"{os.geteuid()} of this process; have its owner grant that (chmod -R a+rX; umask 022 for what is written next)"
    )


def buckets_of(selections: DeltaTable) -> int:
    """The number of buckets that a warehouse was made with, which `artwork_selections` keeps as a property."""
    kept = selections.metadata().configuration.get(BUCKETS_PROPERTY, "")
    if not (kept.isdecimal() and int(kept) > 0):
        raise ContractError(
            f"artwork_selections: the table property {BUCKETS_PROPERTY} of {path_of(selections)} is "
            f"{kept or 'missing'}, expected the number of buckets that the table was made with; set it again "
            "(ALTER TABLE … SET TBLPROPERTIES)"
        )
    return int(kept)


def arrow_dataset(opened: DeltaTable, table: Table, **options: Any) -> FileSystemDataset:
    """The table for PyArrow. Raises ContractError where PyArrow would refuse it or read nulls."""
    from deltalake.exceptions import DeltaProtocolError

    # PyArrow looks for the columns by their names, and files with column mapping have others: all would be null.
    if opened.metadata().configuration.get(_MAPPING, "none") != "none":
        raise _unsupported(opened, table.name, "columnMapping")
    try:
        return opened.to_pyarrow_dataset(**options)
    except DeltaProtocolError as error:
        if features := _features(error):
            raise _unsupported(opened, table.name, features) from error
        raise ContractError(f"{table.name}: {path_of(opened)} cannot be read: {error}") from error


def batches(sql: str, **tables: DeltaTable) -> Iterator[pa.RecordBatch]:
    """The answer to `sql` over `tables`, each under the name of its argument, as a stream."""
    import pyarrow as pa
    from deltalake import QueryBuilder
    from deltalake.exceptions import DeltaError

    builder = QueryBuilder()
    # Else it would read every column of every row of a file, most of it rankings, to find the few rows of one user.
    builder.execute("SET datafusion.execution.parquet.pushdown_filters = true").read_all()
    try:
        for name, table in tables.items():
            builder.register(name, table)
        reader = builder.execute(sql)
        schema = pa.schema(reader.schema)
    except DeltaError as error:
        features = _features(error)
        if not features:
            raise
        names = [name for name, each in tables.items() if _has(each, features)] or list(tables)
        raise _unsupported(tables[names[0]], names[0], features) from error
    yield pa.RecordBatch.from_pylist([], schema=schema)
    with permitted(**{name: path_of(table) for name, table in tables.items()}):
        for batch in reader:
            yield pa.record_batch(batch)


def query(sql: str, **tables: DeltaTable) -> pa.Table:
    """`batches`, all of them as one table."""
    import pyarrow as pa

    return pa.Table.from_batches(batches(sql, **tables))


def rows(sql: str, **tables: DeltaTable) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query(sql, **tables).to_pylist()
    return found


def literal(text: str) -> str:
    """`text` as SQL. QueryBuilder binds no parameters; hexadecimal digits can't end a literal, whatever the dialect."""
    return f"CAST(X'{text.encode().hex()}' AS VARCHAR)"


def literals(texts: Iterable[str]) -> str:
    """`texts` as the inside of an SQL IN (…); matches nothing where there are none."""
    return ", ".join(literal(text) for text in texts) or "NULL"


def path_of(table: DeltaTable) -> str:
    """A table's folder as a path, where it is in one."""
    from urllib.parse import unquote

    uri = table.table_uri
    return unquote(uri.removeprefix("file://")).rstrip("/") if uri.startswith("file://") else uri


def _features(error: Exception) -> str:
    """The features that an error says the reader lacks, as Delta writes them: `typeWidening`."""
    found = _UNSUPPORTED.search(str(error))
    names = re.findall(r"\w+", next(filter(None, found.groups()), "")) if found else []
    return ", ".join(name[0].lower() + name[1:] for name in names)


def _has(table: DeltaTable, features: str) -> bool:
    return bool(set(features.split(", ")) & set(table.protocol().reader_features or ()))


def _unsupported(table: DeltaTable, name: str, features: str) -> ContractError:
    first = features.partition(", ")[0]
    return ContractError(
        f"{name}: the table has the feature {features}, which this reader lacks and Spark has; take it away with "
        f"ALTER TABLE delta.`{path_of(table)}` DROP FEATURE {first}, or read a copy without it"
    )


def last_day(warehouse: str) -> date:
    """The last day on which anything was watched in a warehouse, a folder or the URI of an object store."""
    history = open_table(warehouse, VIEWING_HISTORY, remedy="fill the warehouse first (`marquee sample --help`)")
    # As text, which sorts alike: a day may be missing, or lie outside Python's dates.
    days = sorted(str(day) for each in history.partitions() if (day := each["watch_date"]) is not None)
    if not days:
        raise ContractError(f"{path_of(history)} is empty: nobody has watched anything, so there is no last day")
    try:
        return date.fromisoformat(days[-1])
    except ValueError as error:
        raise ContractError(f"{path_of(history)} has a last day of {days[-1]}: name the night yourself") from error
