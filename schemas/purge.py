"""Removes the files that hold users' rows, whatever their retention: those of old versions and of the change feed, and
those from which deletion vectors only hide the rows. All other files stay, and with them the versions that need only
these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from schemas import store
from schemas.contract import Table
from schemas.erased import user_column, users_in
from schemas.exit_codes import RunError
from schemas.files import files_below, open_file, read_file, remove
from schemas.store import location, open_table

if TYPE_CHECKING:
    from deltalake import DeltaTable

_LOG = "_delta_log/"
_VERSION = re.compile(rf"{_LOG}(\d{{20}})\.")
_BUCKET = re.compile(r"(?:^|/)bucket=(\d+)/")
# A step that is writing a file has not yet written to the log that it exists.
_WRITING = timedelta(days=1)


def purge(
    warehouse: str, table: Table, users: set[str], buckets: frozenset[int] | None, now: datetime
) -> tuple[int, int]:
    """Remove the files of a table that hold rows of `users`, who are in `buckets`, after these rows were deleted.
    Returns their number, and the number of those that stay because a running step may be writing them.

    Raises RunError if the table has such rows again.
    """
    place = location(warehouse, table)
    written = dict(files_below(place))
    held = {
        name
        for name in written
        if name.endswith(".parquet") and not name.startswith(_LOG)
        if _may_hold(name, table, buckets) and _holds(place, name, table, users)
    }
    for partition in _partitions_of(open_table(warehouse, table), held):
        store.rewrite(warehouse, table, **partition)
    recent = {name for name in held if now - written[name] < _WRITING}
    # Whatever a commit names was written completely. What is named before the newest version is opened is read by that
    # version, or will not be read again.
    named = _named(place, now - _WRITING) if recent else set()
    opened = open_table(warehouse, table)
    if _partitions_of(opened, held):
        raise RunError(f"{table.name}: rows of the users were written while they were erased; erase them again")
    unknown = {name for name in recent if _base(name) not in named}
    _remove(place, held - unknown)
    _cut_log(warehouse, table)
    return len(held - unknown), len(unknown)


def _may_hold(name: str, table: Table, buckets: frozenset[int] | None) -> bool:
    found = _BUCKET.search(name)
    if found is None or buckets is None or "user_id" not in table.column_names:
        return True
    return int(found[1]) in buckets


def _holds(place: str, name: str, table: Table, users: set[str]) -> bool:
    """Whether a Parquet file has a row of one of the users."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    column, wanted = user_column(table), pa.array(sorted(users), pa.string())
    with open_file(place, name) as file, pq.ParquetFile(file) as parquet:
        return any(
            # delta-rs writes string views, for which PyArrow has few functions.
            pc.any(pc.is_in(users_in(table, batch[column].cast(pa.string())), value_set=wanted)).as_py()
            for batch in parquet.iter_batches(columns=[column], use_threads=False)
        )


def _base(name: str) -> str:
    """A file's name without folders, which the log may escape. Names are unique."""
    return PurePosixPath(name).name


def _live(opened: DeltaTable) -> dict[str, dict[str, Any]]:
    """The files of the newest version, with the partition of each."""
    import pyarrow as pa

    mark = "partition."
    return {
        _base(file["path"]): {key.removeprefix(mark): value for key, value in file.items() if key.startswith(mark)}
        for file in pa.table(opened.get_add_actions(flatten=True)).to_pylist()
    }


def _partitions_of(opened: DeltaTable, names: set[str]) -> list[dict[str, Any]]:
    """The partitions of those of the files that the newest version reads."""
    live = _live(opened)
    found = {tuple(live[base].items()) for base in map(_base, names) if base in live}
    return [dict(each) for each in sorted(found)]


def _log(place: str) -> list[tuple[int, str, datetime]]:
    """The files of a table's log: version, name, and when each was written. A version may have a commit, a checkpoint
    and a checksum.
    """
    found = ((_VERSION.match(name), name, written) for name, written in files_below(place))
    return sorted((int(match[1]), name, written) for match, name, written in found if match)


def _actions(place: str, name: str) -> Iterator[dict[str, Any]]:
    """The actions of a commit or a checkpoint, by kind, such as `add`."""
    import pyarrow.parquet as pq

    if not name.endswith(".parquet"):
        yield from map(json.loads, (read_file(place, name) or b"").splitlines())
        return
    with open_file(place, name) as file, pq.ParquetFile(file) as parquet:
        columns = ["add.path", "remove.path", "metaData.configuration"]
        for batch in parquet.iter_batches(columns=columns, use_threads=False):
            yield from batch.to_pylist()


def _named(place: str, since: datetime) -> set[str]:
    """The files that commits since then name."""
    actions = (
        action
        for _, name, written in _log(place)
        if written > since and name.endswith(".json")
        for action in _actions(place, name)
    )
    kinds = ("add", "remove", "cdc")
    return {_base(action[kind]["path"]) for action in actions for kind in kinds if action.get(kind)}


def _remove(place: str, names: Iterable[str]) -> None:
    """Remove files, and the checksums that Spark writes beside those in a folder of this machine."""
    paths = [PurePosixPath(name) for name in names]
    remove(place, [str(each) for path in paths for each in (path, path.with_name(f".{path.name}.crc"))])


def _cut_log(warehouse: str, table: Table) -> None:
    """Cut the log's earlier versions if they hold statistics of files (least and greatest ids), as those of tables by
    earlier versions of Marquee do.
    """
    place = location(warehouse, table)
    no_statistics = {name for name in table.properties if name.startswith("delta.dataSkipping")}
    if no_statistics <= _first_properties(place):
        return
    # A commit of its own, as the last one may say it, too.
    open_table(warehouse, table).alter.set_table_properties(table.properties, raise_if_not_exists=False)
    cut = open_table(warehouse, table)
    cut.create_checkpoint()
    _remove(place, [name for version, name, _ in _log(place) if version < cut.version()])


def _first_properties(place: str) -> set[str]:
    """The names of the table's properties in the earliest version that the log has."""
    log = _log(place)
    first = [name for version, name, _ in log if version == log[0][0] and not name.endswith(".crc")]
    kept = (
        action["metaData"]["configuration"]
        for name in first
        for action in _actions(place, name)
        if action.get("metaData")
    )
    return {name for configuration in kept for name in dict(configuration)}
