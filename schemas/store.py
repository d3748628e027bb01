"""Delta tables without Spark (by delta-rs): where they are, how they are created, opened, read and written, and the
errors when that fails. No other module does this; Spark's part is spark_jobs/warehouse.py.

There are two readers. DataFusion (`batches`, `query`, `rows`) supports the features that owners of inputs turn on
(deletion vectors, column mapping) and promises no row order. PyArrow (`arrow_dataset`, `stored_batches`) keeps the row
order and reads the tables that Marquee writes. Errors name the feature that a reader lacks, with the remedy.
"""

from __future__ import annotations

import json
import os
import random
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from schemas.contract import ContractError, Table, type_name
from schemas.exit_codes import RunError
from schemas.files import check_conditions
from schemas.tables import ARTWORK_SELECTIONS, BUCKETS_PROPERTY, FORMAT_PROPERTY, VIEWING_HISTORY

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyarrow.dataset import FileSystemDataset

Done = TypeVar("Done")

_UNSUPPORTED = re.compile(r"Unsupported table features required: \[(.*?)\]|reader features: \{(.*?)\}")
_NO_NIGHT = "has a night been run on this warehouse?"
_MAPPING = "delta.columnMapping.mode"
# Rows of user_contexts in one Arrow batch: about a megabyte of text.
_BATCH_ROWS = 1024
# Other shards commit to the same tables meanwhile; delta-rs checks each such commit for conflicts and retries.
_COMMIT_RETRIES = 100
_ATTEMPTS = 5
# A row group stays in memory until it is full, by default at a million rows.
_ROW_GROUP_ROWS = 2**16


class NoTableError(ContractError):
    """The table does not exist."""


def location(warehouse: str, table: Table) -> str:
    """The path or URI of a table."""
    return f"{warehouse.rstrip('/')}/{table.name}"


def absence(warehouse: str, table: Table) -> str:
    """That the table does not exist, as the beginning of a message."""
    return f"{table.name}: there is no Delta table at {location(warehouse, table)}"


def no_table(warehouse: str, table: Table, remedy: str = _NO_NIGHT) -> NoTableError:
    return NoTableError(f"{absence(warehouse, table)}; {remedy}")


def open_table(warehouse: str, table: Table, version: int | None = None, remedy: str = _NO_NIGHT) -> DeltaTable:
    """The table as it is now, or at a version. Raises NoTableError if it does not exist, ContractError if it cannot be
    opened.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    path = location(warehouse, table)
    try:
        return DeltaTable(path, version=version)
    except TableNotFoundError as error:
        check_permission(table.name, path)
        raise no_table(warehouse, table, remedy) from error
    except (DeltaError, OSError) as error:
        check_permission(table.name, path)
        at = "" if version is None else f" at version {version}"
        raise ContractError(f"{table.name}: {path} cannot be read{at}: {error}") from error


def has_table(warehouse: str, table: Table) -> bool:
    """Whether the table exists. Raises ContractError if this user lacks the permission to find out."""
    from deltalake import DeltaTable

    path = location(warehouse, table)
    with permitted(**{table.name: path}):
        found = DeltaTable.is_deltatable(path)
    if not found:
        check_permission(table.name, path)
    return found


def create(warehouse: str, table: Table, **properties: str) -> list[str]:
    """Create an empty table with `properties` beside its own, unless it exists; then hold it to the contract.

    A table made by an earlier version of Marquee gets the columns that it lacks, null in every existing row. Returns
    the names of columns that the contract does not know: they are left alone, and null in new rows. Raises
    ContractError if a column or the partitioning is another, or if a newer version of Marquee has used the table.
    """
    from deltalake import DeltaTable, Field, Schema
    from deltalake.exceptions import DeltaError, TableNotFoundError

    check_conditions(warehouse)
    path, schema = location(warehouse, table), Schema.from_json(json.dumps(table.delta_json()))
    try:
        made = DeltaTable.create(
            path,
            schema,
            mode="ignore",
            partition_by=list(table.partitioned_by),
            description=table.meaning,
            configuration={**table.properties, **properties},
            # delta-rs does not know the `marquee.…` properties.
            raise_if_key_not_exists=False,
        )
    except TableNotFoundError as error:
        # delta-rs raises this when it cannot make the folder.
        raise ContractError(f"{table.name}: {path} cannot be made: {error}") from error
    check_contract(made, table)
    found = {each.name for each in made.schema().fields}
    try:
        # Nullable, whatever the contract says: the existing rows have no value.
        if missing := [Field(each.name, each.type) for each in schema.fields if each.name not in found]:
            made.alter.add_columns(missing)
        # Other properties an operator may have removed, such as a feature that a reader of the table lacks.
        had = made.metadata().configuration
        wanted = {name: value for name, value in table.properties.items() if name.startswith("delta.dataSkipping")}
        gained = {name: value for name, value in wanted.items() if name not in had}
        if _format_of(made) < _format_in(table.properties):
            gained[FORMAT_PROPERTY] = table.properties[FORMAT_PROPERTY]
        if gained:
            made.alter.set_table_properties(gained, raise_if_not_exists=False)
    except DeltaError as error:
        raise ContractError(f"{table.name}: {path} cannot be brought up to date: {error}") from error
    return sorted(found - set(table.column_names))


def check_contract(opened: DeltaTable, table: Table) -> None:
    """Raise ContractError if a table of Marquee's own has a column of another type, is partitioned in another way, or
    was used by a newer version of Marquee.
    """
    if _format_of(opened) > _format_in(table.properties):
        raise ContractError(
            f"{table.name}: a newer version of Marquee has used {path_of(opened)} (table property {FORMAT_PROPERTY}: "
            f"{_format_of(opened)}, this version writes {_format_in(table.properties)}); use that version, or newer"
        )
    types = {each["name"]: type_name(each["type"]) for each in json.loads(opened.schema().to_json())["fields"]}
    faults = [
        f"column {column.name} is {types[column.name]}, the contract says {type_name(column.type)}"
        for column in table.columns
        if types.get(column.name, type_name(column.type)) != type_name(column.type)
    ]
    if (kept := tuple(opened.metadata().partition_columns)) != table.partitioned_by:
        names = ", ".join(table.partitioned_by) or "nothing"
        faults.append(f"it is partitioned by {', '.join(kept) or 'nothing'}, the contract says {names}")
    if faults:
        raise ContractError(
            f"{table.name}: {'; '.join(faults)} (docs/tables.md). Nothing writes {path_of(opened)} but Marquee: move "
            "it away or restore an earlier version of it"
        )


def _format_of(opened: DeltaTable) -> int:
    return _format_in(opened.metadata().configuration)


def _format_in(properties: Mapping[str, str]) -> int:
    return int(properties.get(FORMAT_PROPERTY, 0))


def check_permission(name: str, path: str) -> None:
    """Raise ContractError naming the first file or folder of a table that this user may not read. delta-rs reports a
    table in a folder that it may not enter as missing.
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
    """Turn an error for lack of permission into the ContractError of `check_permission`."""
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
        f"{os.geteuid()} of this process; have its owner grant that (chmod -R a+rX; umask 022 for new files)"
    )


def buckets_of(opened: DeltaTable, table: Table = ARTWORK_SELECTIONS) -> int:
    """The number of buckets that a warehouse was made with, from the table property of `buckets_kept`.

    Raises ContractError if the property is missing or no number.
    """
    kept = opened.metadata().configuration.get(BUCKETS_PROPERTY, "")
    if not (kept.isdecimal() and int(kept) > 0):
        raise ContractError(
            f"{table.name}: the table property {BUCKETS_PROPERTY} of {path_of(opened)} is "
            f"{kept or 'missing'}, expected the number of buckets that the table was made with; set it again "
            "(ALTER TABLE … SET TBLPROPERTIES)"
        )
    return int(kept)


def arrow_dataset(opened: DeltaTable, table: Table, **options: Any) -> FileSystemDataset:
    """The table for PyArrow. Raises ContractError if PyArrow would refuse it or read nulls."""
    from deltalake.exceptions import DeltaProtocolError

    # PyArrow finds columns by name, but files with column mapping use other names: every value would be null.
    if opened.metadata().configuration.get(_MAPPING, "none") != "none":
        raise _unsupported(opened, table.name, "columnMapping")
    try:
        return opened.to_pyarrow_dataset(**options)
    except DeltaProtocolError as error:
        if features := _features(error):
            raise _unsupported(opened, table.name, features) from error
        raise ContractError(f"{table.name}: {path_of(opened)} cannot be read: {error}") from error


def has_files(opened: DeltaTable, **partition: object) -> bool:
    """Whether a partition has rows, by the table's log alone."""
    return bool(opened.file_uris(file_pruning_predicate=_filters(partition)))


def stored_rows(opened: DeltaTable, table: Table, columns: list[str], **partition: object) -> Iterator[dict[str, Any]]:
    """The rows of `stored_batches`."""
    for batch in stored_batches(opened, table, columns, **partition):
        yield from batch.to_pylist()


def stored_batches(
    opened: DeltaTable, table: Table, columns: list[str], **partition: object
) -> Iterator[pa.RecordBatch]:
    """`columns` of one partition's rows as a stream, in stored order. Raises ContractError if a column is missing."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow.dataset import get_partition_keys

    dataset = arrow_dataset(opened, table, file_pruning_predicate=_filters(partition))
    missing = sorted(set(columns) - set(dataset.schema.names))
    if missing:
        raise ContractError(f"{path_of(opened)}: columns {', '.join(missing)} are missing (schemas/tables.py)")
    schema = pa.schema([dataset.schema.field(name) for name in columns])
    with permitted(**{table.name: path_of(opened)}):
        for fragment in dataset.get_fragments():
            # The dataset's own reader decodes a whole row group, which may be a whole bucket, before its first batch.
            with pq.ParquetFile(fragment.open()) as file:
                stored = [name for name in columns if name in file.schema_arrow.names]
                values = get_partition_keys(fragment.partition_expression)
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=stored, use_threads=False):
                    yield _as_declared(batch, schema, values)


def replace(warehouse: str, table: Table, batches: Iterable[pa.RecordBatch], **partition: object) -> None:
    """Replace the rows of one partition by a stream of rows, in one commit.

    Nothing is written if the stream raises, or if the partition is empty and the stream too.
    """
    import pyarrow as pa
    from deltalake import CommitProperties, WriterProperties, write_deltalake

    check_conditions(warehouse)
    opened, stream = open_table(warehouse, table), iter(batches)
    first = next(stream, None)
    if first is None and not has_files(opened, **partition):
        return
    condition = [f"{column} = {_sql(value)}" for column, value in partition.items()]
    write_deltalake(
        opened,
        pa.RecordBatchReader.from_batches(table.arrow_schema(), chain([] if first is None else [first], stream)),
        mode="overwrite",
        predicate=" AND ".join(condition),
        # A column that the contract does not know becomes null.
        schema_mode="merge",
        writer_properties=WriterProperties(max_row_group_size=_ROW_GROUP_ROWS),
        commit_properties=CommitProperties(max_commit_retries=_COMMIT_RETRIES),
    )


def replace_rows(warehouse: str, table: Table, rows: list[dict[str, Any]], **partition: object) -> None:
    """As `replace`, for a few rows in memory; retried if another writer changed the same partition meanwhile."""
    import pyarrow as pa

    batches = [pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema())] if rows else []
    _retried(lambda: replace(warehouse, table, batches, **partition))


def delete(warehouse: str, table: Table, condition: str) -> None:
    """Delete the rows that obey an SQL condition on partitions, in one commit."""
    check_conditions(warehouse)
    _retried(lambda: open_table(warehouse, table).delete(condition))


def delete_matching(warehouse: str, table: Table, expression: str, values: Iterable[str], condition: str) -> int:
    """Delete the rows that obey an SQL condition and whose value of an expression is one of `values`, in one commit,
    or in none if there is no such row; retried if another writer changed what it read meanwhile. Returns the number of
    rows. The table's log keeps condition and expression, and none of the values.

    Raises RunError if others were faster every time.
    """
    import pyarrow as pa
    from deltalake import CommitProperties, WriterProperties
    from deltalake.exceptions import CommitFailedError

    check_conditions(warehouse)
    source = pa.table({"wanted": pa.array(sorted(values), pa.string())})

    def work() -> int:
        # Not by DELETE with IN: delta-rs cannot read its own text of that when it looks for conflicts.
        merge = open_table(warehouse, table).merge(
            source,
            f"{condition} AND {expression} = s.wanted",
            source_alias="s",
            target_alias="t",
            writer_properties=WriterProperties(max_row_group_size=_ROW_GROUP_ROWS),
            commit_properties=CommitProperties(max_commit_retries=_COMMIT_RETRIES),
        )
        return int(merge.when_matched_delete().execute()["num_target_rows_deleted"])

    try:
        return _retried(work)
    except CommitFailedError as error:
        raise RunError(f"{table.name}: other writers were faster {_ATTEMPTS} times; run this again") from error


def rewrite(warehouse: str, table: Table, **partition: object) -> None:
    """Rewrite the files of one partition, ordered by the key, without the rows that were deleted from them. No row and
    no change feed changes.
    """
    check_conditions(warehouse)
    columns = [name for name in table.key or table.column_names if name not in table.partitioned_by]
    _retried(
        lambda: open_table(warehouse, table).optimize.z_order(columns, partition_filters=_filters(partition) or None)
    )


def insert_missing(warehouse: str, table: Table, rows: list[dict[str, Any]]) -> int:
    """Insert those of a few rows whose key the table does not have, in one commit. Returns their number."""
    import pyarrow as pa

    check_conditions(warehouse)
    source = pa.Table.from_pylist(rows, table.arrow_schema())
    same = " AND ".join(f"t.{column} = s.{column}" for column in table.key)

    def work() -> int:
        merge = open_table(warehouse, table).merge(source, same, source_alias="s", target_alias="t")
        return int(merge.when_not_matched_insert_all().execute()["num_target_rows_inserted"])

    return _retried(work)


def _retried(work: Callable[[], Done]) -> Done:
    """`work`, again if another writer's commit made its own fail."""
    from deltalake.exceptions import CommitFailedError

    for attempt in range(1, _ATTEMPTS):
        try:
            return work()
        except CommitFailedError:
            time.sleep(random.uniform(0, attempt))
    return work()


def _filters(partition: dict[str, object]) -> list[tuple[str, str, str]]:
    return [(column, "=", str(value)) for column, value in partition.items()]


def _sql(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _as_declared(batch: pa.RecordBatch, schema: pa.Schema, values: dict[str, object]) -> pa.RecordBatch:
    """A file's batch in the table's types. A column that the file lacks is filled from `values`, or with nulls."""
    import pyarrow as pa

    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.repeat(pa.scalar(values.get(field.name), field.type), batch.num_rows)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def batches(sql: str, **tables: DeltaTable) -> Iterator[pa.RecordBatch]:
    """The result of `sql` over `tables`, each under the name of its argument, as a stream."""
    import pyarrow as pa
    from deltalake import QueryBuilder
    from deltalake.exceptions import DeltaError

    builder = QueryBuilder()
    # Without this it reads every column of every row of a file, mostly rankings, to find the few rows of one user.
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
    """All `batches` as one table."""
    import pyarrow as pa

    return pa.Table.from_batches(batches(sql, **tables))


def rows(sql: str, **tables: DeltaTable) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query(sql, **tables).to_pylist()
    return found


def rows_of_day(warehouse: str, table: Table, ds: date, columns: str = "*", more: str = "") -> list[dict[str, Any]]:
    """A table's rows of `ds`, by SQL: `columns`, and `more` conditions or a grouping."""
    opened = {table.name: open_table(warehouse, table)}
    return rows(f"SELECT {columns} FROM {table.name} WHERE ds = DATE '{ds}' {more}", **opened)


def rows_where(warehouse: str, table: Table, condition: str) -> list[dict[str, Any]]:
    """A table's rows that obey `condition`, which may end with an order or a limit; none if it does not exist."""
    try:
        opened = open_table(warehouse, table)
    except NoTableError:
        return []
    return rows(f"SELECT * FROM {table.name} WHERE {condition}", **{table.name: opened})


def literal(text: str) -> str:
    """`text` as SQL. QueryBuilder binds no parameters; hexadecimal digits can't end a literal, whatever the dialect."""
    return f"CAST(X'{text.encode().hex()}' AS VARCHAR)"


def literals(texts: Iterable[str]) -> str:
    """`texts` as the inside of an SQL IN (…); without texts it matches nothing."""
    return ", ".join(literal(text) for text in texts) or "NULL"


def path_of(table: DeltaTable) -> str:
    """A table's folder as a path, or its URI in an object store."""
    from urllib.parse import unquote

    uri = table.table_uri
    return unquote(uri.removeprefix("file://")).rstrip("/") if uri.startswith("file://") else uri


def _features(error: Exception) -> str:
    """The features that the reader lacks according to its error, as Delta writes them: `typeWidening`."""
    found = _UNSUPPORTED.search(str(error))
    names = re.findall(r"\w+", next(filter(None, found.groups()), "")) if found else []
    return ", ".join(name[0].lower() + name[1:] for name in names)


def _has(table: DeltaTable, features: str) -> bool:
    return bool(set(features.split(", ")) & set(table.protocol().reader_features or ()))


def _unsupported(table: DeltaTable, name: str, features: str) -> ContractError:
    first = features.partition(", ")[0]
    return ContractError(
        f"{name}: the table has the feature {features}, which Spark supports and this reader does not; remove it with "
        f"ALTER TABLE delta.`{path_of(table)}` DROP FEATURE {first}, or read a copy without it"
    )


def last_day(warehouse: str) -> date:
    """The last day with a viewing in a warehouse. Raises ContractError if there is none."""
    history = open_table(warehouse, VIEWING_HISTORY, remedy="fill the warehouse first (`marquee sample --help`)")
    # As text, which sorts like dates: a day may be null, or outside the range of Python's dates.
    days = sorted(str(day) for each in history.partitions() if (day := each["watch_date"]) is not None)
    if not days:
        raise ContractError(f"{path_of(history)} is empty: there is no viewing and so no last day")
    try:
        return date.fromisoformat(days[-1])
    except ValueError as error:
        raise ContractError(f"{path_of(history)} has {days[-1]} as its last day: give the night with --ds") from error
