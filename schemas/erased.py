"""Erased users: who they are, by salted hashes, and the removal of their rows from the tables that Marquee writes.

First a user's hash is registered: whoever reads inputs from then on leaves the user out. Then the rows are deleted. A
step that has read the user before and writes the rows afterwards deletes them again (`erasing`); one that is killed in
between deletes them when it is run again, and the weekly maintenance deletes what is left.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from schemas import store
from schemas.buckets import bucket_of
from schemas.contract import ContractError, Table
from schemas.store import NoTableError, open_table
from schemas.tables import ARTWORK_SELECTIONS, ERASED_AT_PROPERTY, ERASED_USERS, OWN, REJECTED_ROWS, SALT_PROPERTY

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

# user@hash, as spark_jobs/examples.py makes it.
_OF_CONTEXT_KEY = "@[0-9A-F]*$"


def salt_of(opened: DeltaTable) -> str:
    """The salt of `erased_users`. Raises ContractError if it is gone, because then nobody knows who was erased."""
    salt = opened.metadata().configuration.get(SALT_PROPERTY)
    if not salt:
        raise ContractError(
            f"{ERASED_USERS.name}: the table property {SALT_PROPERTY} is missing, so nobody knows who was erased; "
            "restore the table, or remove it and erase its users again"
        )
    return salt


@dataclass(frozen=True)
class Erased:
    """Users who were erased: all of a warehouse, or, with their `buckets`, some that are named."""

    salt: str
    hashes: frozenset[str]
    buckets: frozenset[int] | None = None

    def in_buckets(self, table: Table) -> str:
        """An SQL condition: only the users' buckets, in tables by users' buckets."""
        if self.buckets is None or not {"bucket", "user_id"} <= {*table.column_names}:
            return "true"
        return f"t.bucket IN ({', '.join(map(str, sorted(self.buckets)))})"


def hash_of(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}{text}".encode()).hexdigest()


def register(warehouse: str, users: Iterable[str]) -> Erased:
    """Add users to `erased_users`, which is made if this is its first user. Each occurs once, however often added."""
    # Of two processes that create the table at once one does, and both read its salt.
    store.create(warehouse, ERASED_USERS, **{SALT_PROPERTY: secrets.token_hex(16)})
    salt = salt_of(open_table(warehouse, ERASED_USERS))
    ids = set(users)
    hashes = frozenset(hash_of(salt, user) for user in ids)
    store.insert_missing(warehouse, ERASED_USERS, [{"user_hash": each} for each in sorted(hashes)])
    return Erased(salt, hashes, buckets_of(warehouse, ids))


def mark(warehouse: str, now: datetime) -> None:
    """Make a version of `erased_users`, so that a step that is running finds at its end that users were erased."""
    opened = open_table(warehouse, ERASED_USERS)
    opened.alter.set_table_properties({ERASED_AT_PROPERTY: now.isoformat()}, raise_if_not_exists=False)


def buckets_of(warehouse: str, users: Iterable[str]) -> frozenset[int] | None:
    """The buckets of users; None before a warehouse's first night."""
    try:
        buckets = store.buckets_of(open_table(warehouse, ARTWORK_SELECTIONS))
    except NoTableError:
        return None
    return frozenset(bucket_of(user, buckets) for user in users)


def version(warehouse: str) -> int:
    """The version of `erased_users`; -1 if nobody was ever erased."""
    try:
        return int(open_table(warehouse, ERASED_USERS).version())
    except NoTableError:
        return -1


def all_erased(warehouse: str) -> Erased | None:
    """Everybody who was ever erased; None if nobody was."""
    try:
        opened = open_table(warehouse, ERASED_USERS)
    except NoTableError:
        return None
    rows = store.rows("SELECT user_hash FROM erased", erased=opened)
    return Erased(salt_of(opened), frozenset(row["user_hash"] for row in rows))


@contextmanager
def erasing(warehouse: str) -> Iterator[None]:
    """Delete, at the end of the block, the rows of users who were erased during it: it may have read them before."""
    before = version(warehouse)
    yield
    if version(warehouse) != before:
        remove_all(warehouse)


def remove_all(warehouse: str) -> int:
    """Delete all rows of everybody who was ever erased. Returns their number; usually 0."""
    erased = all_erased(warehouse)
    return sum(rows for _, rows in remove(warehouse, erased)) if erased else 0


def user_column(table: Table) -> str | None:
    """The column of a table that says, by itself or in its text, whose row it is; None if rows are about nobody."""
    if table is REJECTED_ROWS:
        return "row"
    return next((name for name in ("user_id", "context_key") if name in table.column_names), None)


def remove(warehouse: str, erased: Erased) -> Iterator[tuple[Table, int]]:
    """Delete the users' rows, `artwork_selections` first. Yields each existing table and the number of rows deleted."""
    for table in sorted(OWN, key=lambda table: table is not ARTWORK_SELECTIONS):
        column = user_column(table)
        if column is None:
            continue
        try:
            yield table, _remove_from(warehouse, table, column, erased)
        except NoTableError:
            continue


def _remove_from(warehouse: str, table: Table, column: str, erased: Erased) -> int:
    hashes, text = erased.hashes, f"t.{column}"
    if table is REJECTED_ROWS:
        # No function of the SQL reads JSON.
        texts = _rejected_rows(open_table(warehouse, table), erased)
        hashes, text = frozenset(hash_of(erased.salt, each) for each in texts), 't."row"'
    elif column == "context_key":
        text = f"regexp_replace(t.context_key, '{_OF_CONTEXT_KEY}', '')"
    # As `hash_of` makes it.
    user_hash = f"encode(sha256(concat('{erased.salt}', {text})), 'hex')"
    return sum(
        store.delete_matching(warehouse, table, user_hash, hashes, f"{days} AND {erased.in_buckets(table)}")
        for days in (_days(warehouse, table) if hashes else ())
    )


def _days(warehouse: str, table: Table) -> list[str]:
    """SQL conditions: the earlier days of a table, and the last one. The many commits of a night that is being scored
    would make one long delete fail again and again.
    """
    if table.partitioned_by[:1] != ("ds",):
        return ["true"]
    last = store.rows("SELECT max(ds) AS ds FROM t", t=open_table(warehouse, table))[0]["ds"]
    return [f"t.ds < DATE '{last}'", f"t.ds >= DATE '{last}'"] if last else []


def _rejected_rows(opened: DeltaTable, erased: Erased) -> Iterator[str]:
    for batch in store.batches('SELECT DISTINCT "row" FROM rejected', rejected=opened):
        for text in batch["row"].to_pylist():
            user = user_in(text)
            if user is not None and hash_of(erased.salt, user) in erased.hashes:
                yield text


def user_in(row: str) -> str | None:
    """The user of a rejected row's JSON."""
    found = json.loads(row, strict=False)
    user, key = found.get("user_id"), found.get("context_key")
    return re.sub(_OF_CONTEXT_KEY, "", key) if user is None and key is not None else user


def users_in(table: Table, values: pa.Array) -> pa.Array:
    """The user of each value of a table's `user_column`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if table is REJECTED_ROWS:
        return pa.array([text and user_in(text) for text in values.to_pylist()], pa.string())
    return pc.replace_substring_regex(values, _OF_CONTEXT_KEY, "") if user_column(table) == "context_key" else values


def remaining(warehouse: str, table: Table, users: Iterable[str]) -> int:
    """The number of users' rows in an input; 0 if it does not exist."""
    try:
        opened = open_table(warehouse, table)
    except NoTableError:
        return 0
    condition = f"user_id IN ({store.literals(users)})"
    return int(store.rows(f"SELECT count(*) AS rows FROM input WHERE {condition}", input=opened)[0]["rows"])
