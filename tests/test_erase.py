"""Erased users: gone from every table that Marquee writes and, once purged, from every file; and they stay gone."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from schemas import store
from schemas.buckets import bucket_of
from schemas.contract import ContractError, Table
from schemas.erased import erasing, register, remove, remove_all, salt_of, user_column
from schemas.exit_codes import REFUSED
from schemas.files import files_below, open_file, write_file
from schemas.purge import purge
from schemas.tables import (
    ARTWORK_SELECTIONS,
    ERASED_USERS,
    HELD_OUT_CONTEXTS,
    OWN,
    POST_TRAINING_EXAMPLES,
    REJECTED_ROWS,
    TEACHER_REASONS,
    USER_CONTEXTS,
    VIEWING_HISTORY,
    WANTED_PAIRS,
    buckets_kept,
)
from tests.conftest import RunMarquee
from tests.object_store import BUCKET, ObjectStore

USER = 'o\'brien\t"é\\u00e9" %27@5F\n; --🎬'
SECRET = "Recently watched by nobody else"
OTHERS = ["u5", "5F", "o'brien", "u1", f"{USER}@", f"{USER}x", "é"]
DAY = date(2026, 1, 10)
BUCKETS = 2
PERSONAL = [table for table in OWN if user_column(table)]


def value(column: str, kind: Any, user: str) -> Any:
    if column == "user_id":
        return user
    if column == "context_key":
        return f"{user}@1F00"
    if column == "row":
        return json.dumps({"user_id": user, "title_id": "t1"}, ensure_ascii=user != USER)
    texts = {"string": f"{SECRET if user == USER else 'others'} {column}", "date": DAY, "integer": 1, "long": 1}
    defaults = {**texts, "double": 0.5, "boolean": True, "timestamp": datetime(2026, 1, 10, tzinfo=UTC)}
    return defaults[kind] if isinstance(kind, str) else []


def content(table: Table, users: list[str]) -> pa.Table:
    rows = [
        {c.name: value(c.name, c.type, "" if c.name in table.partitioned_by[1:] else user) for c in table.columns}
        | ({"bucket": bucket_of(user, BUCKETS)} if "bucket" in table.column_names else {})
        for user in users
    ]
    return pa.Table.from_pylist(rows, table.arrow_schema())


def fill(warehouse: str) -> None:
    """A warehouse with a row of each user in every table about users, and one of the user in an input."""
    for table in PERSONAL:
        store.create(warehouse, table, **buckets_kept(table, BUCKETS))
        write_deltalake(store.open_table(warehouse, table), content(table, [*OTHERS, USER]), mode="append")
    write_deltalake(store.location(warehouse, VIEWING_HISTORY), content(VIEWING_HISTORY, [USER, "u1"]))


@pytest.fixture
def warehouse(tmp_path: Path) -> str:
    fill(str(tmp_path / "warehouse"))
    return str(tmp_path / "warehouse")


def rows(warehouse: str, table: Table) -> list[str]:
    return sorted(map(str, store.rows("SELECT * FROM t", t=store.open_table(warehouse, table))))


def expected(table: Table) -> list[str]:
    return sorted(map(str, content(table, OTHERS).to_pylist()))


def texts_in(found: object) -> Iterator[str]:
    if isinstance(found, str):
        yield found
        # Statistics and rejected rows are JSON within JSON.
        if found[:1] in ("{", "["):
            yield from texts_in(json.loads(found, strict=False))
    elif isinstance(found, dict):
        yield from texts_in([*found.keys(), *found.values()])
    elif isinstance(found, list | tuple):
        for each in found:
            yield from texts_in(each)


def files_with_the_user(warehouse: str) -> list[str]:
    """The files below a warehouse, inputs left aside, in which the user's id or text is, decoded or as bytes."""
    holding = []
    for name, _ in files_below(warehouse):
        if name.startswith(VIEWING_HISTORY.name):
            continue
        with open_file(warehouse, name) as file:
            raw = bytes(file.read())
        read = [*pq.read_table(pa.BufferReader(raw)).to_pylist()] if name.endswith(".parquet") else []
        if name.endswith((".json", ".crc", "_last_checkpoint")) and "/." not in name:
            read += [json.loads(line) for line in raw.splitlines()]
        mine = any(text == USER or text == f"{USER}@1F00" or SECRET in text for text in texts_in(read))
        if mine or any(each in raw for each in (f"{USER}\0".encode(), SECRET.encode(), USER.encode().hex().encode())):
            holding.append(name)
    return holding


def erase(marquee: RunMarquee, warehouse: str, *options: str) -> int:
    return marquee("erase", "--warehouse", warehouse, *options, "--", USER)


def test_a_user_is_erased_from_every_table_and_purged_from_every_file(
    warehouse: str, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"ARTWORK_SELECTIONS", "REJECTED_ROWS", "HELD_OUT_SCORES", "TEACHER_REASONS"} <= {
        table.name.upper() for table in PERSONAL
    }
    before = store.open_table(warehouse, ARTWORK_SELECTIONS).version()
    assert erase(marquee, warehouse) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for table in PERSONAL:
        assert f"{table.name} 1" in printed
        assert rows(warehouse, table) == expected(table)
        # By the other reader, too.
        if table is not ARTWORK_SELECTIONS:
            stored = store.stored_rows(store.open_table(warehouse, table), table, list(table.column_names))
            assert sorted(map(str, stored)) == expected(table)
    assert "viewing_history: 1 rows remain" in printed
    assert "Old versions may hold them until" in printed
    # Only versions that may still be read hold the user; the log does not.
    assert {Path(name).suffix for name in files_with_the_user(warehouse)} == {".parquet"}
    feed = store.open_table(warehouse, ARTWORK_SELECTIONS).load_cdf(starting_version=before + 1)
    changes = pa.table(feed.read_all()).to_pylist()
    assert [(each["user_id"], each["_change_type"]) for each in changes] == [(USER, "delete")]

    assert erase(marquee, warehouse, "--purge") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "artwork_selections 0 2" in printed
    assert "No table had a row of theirs." in printed
    assert files_with_the_user(warehouse) == []
    for table in PERSONAL:
        assert rows(warehouse, table) == expected(table)


def test_a_log_of_an_earlier_version_of_marquee_loses_its_texts_too(warehouse: str, marquee: RunMarquee) -> None:
    table = DeltaTable(store.location(warehouse, TEACHER_REASONS))
    kept = pa.table(table.to_pyarrow_table())
    write_deltalake(f"{warehouse}/old", kept, partition_by=list(TEACHER_REASONS.partitioned_by))
    with_statistics = DeltaTable(f"{warehouse}/old")
    with_statistics.create_checkpoint()
    Path(table.table_uri.removeprefix("file://")).rename(f"{warehouse}/../new")
    Path(f"{warehouse}/old").rename(store.location(warehouse, TEACHER_REASONS))
    assert [name for name in files_with_the_user(warehouse) if "teacher_reasons/_delta_log" in name]
    assert erase(marquee, warehouse, "--purge") == 0
    assert files_with_the_user(warehouse) == []
    assert rows(warehouse, TEACHER_REASONS) == expected(TEACHER_REASONS)
    # A later version of the table is written and read as before.
    write_deltalake(store.open_table(warehouse, TEACHER_REASONS), content(TEACHER_REASONS, ["u9"]), mode="append")
    assert len(rows(warehouse, TEACHER_REASONS)) == len(OTHERS) + 1


def test_an_erase_that_was_killed_anywhere_is_finished_by_running_it_again(warehouse: str, marquee: RunMarquee) -> None:
    erased = register(warehouse, [USER])
    done = [table for table, _ in islice(remove(warehouse, erased), 3)]
    assert done[0] is ARTWORK_SELECTIONS
    purge(warehouse, ARTWORK_SELECTIONS, {USER}, erased.buckets, datetime.now(UTC))
    for _ in range(2):
        assert erase(marquee, warehouse, "--purge") == 0
        assert files_with_the_user(warehouse) == []
        assert all(rows(warehouse, table) == expected(table) for table in PERSONAL)
        assert len(rows(warehouse, ERASED_USERS)) == 1


def test_files_that_hold_nobody_erased_and_files_that_may_still_be_written_stay(warehouse: str) -> None:
    place = store.location(warehouse, WANTED_PAIRS)
    erased = register(warehouse, [USER])
    first = store.open_table(warehouse, WANTED_PAIRS).file_uris()
    # An old version of both buckets, and one of files that hold the user.
    store.rewrite(warehouse, WANTED_PAIRS, ds=DAY, bucket=0)
    store.rewrite(warehouse, WANTED_PAIRS, ds=DAY, bucket=1)
    list(remove(warehouse, erased))
    pq.write_table(content(WANTED_PAIRS, [USER]), f"{place}/half-written.parquet")
    now = datetime.now(UTC)
    assert purge(warehouse, WANTED_PAIRS, {USER}, None, now)[1] == 1
    assert Path(f"{place}/half-written.parquet").exists()
    assert {f"bucket={bucket_of(USER, BUCKETS)}/" in uri: Path(uri).exists() for uri in first} == {
        True: False,
        False: True,
    }
    tomorrow = now.replace(year=now.year + 1)
    assert purge(warehouse, WANTED_PAIRS, {USER}, None, tomorrow) == (1, 0)
    assert not Path(f"{place}/half-written.parquet").exists()


def test_users_are_erased_from_every_bucket_and_day(warehouse: str) -> None:
    for day in (9, 11):
        days = pa.array([date(2026, 1, day)] * len(OTHERS), pa.date32())
        rows_of_day = content(WANTED_PAIRS, OTHERS).set_column(0, "ds", days)
        write_deltalake(store.open_table(warehouse, WANTED_PAIRS), rows_of_day, mode="append")
    gone = dict(remove(warehouse, register(warehouse, [*OTHERS, USER])))
    assert gone[WANTED_PAIRS] == 3 * len(OTHERS) + 1
    assert all(rows(warehouse, table) == [] for table in PERSONAL)


def test_rows_that_a_running_step_writes_after_the_erase_are_deleted_again(warehouse: str) -> None:
    with erasing(warehouse):
        list(remove(warehouse, register(warehouse, [USER])))
        write_deltalake(store.open_table(warehouse, USER_CONTEXTS), content(USER_CONTEXTS, [USER]), mode="append")
    assert rows(warehouse, USER_CONTEXTS) == expected(USER_CONTEXTS)
    # Without an erase meanwhile nothing is looked for; the maintenance looks.
    with erasing(warehouse):
        write_deltalake(store.open_table(warehouse, USER_CONTEXTS), content(USER_CONTEXTS, [USER]), mode="append")
    assert len(rows(warehouse, USER_CONTEXTS)) == len(OTHERS) + 1
    assert remove_all(warehouse) == 1


def _register(warehouse: str, users: list[str]) -> str:
    return register(warehouse, users).salt


def test_processes_that_erase_at_once_share_a_salt_and_lose_no_user(tmp_path: Path) -> None:
    users = [[f"u{n}", "everybody"] for n in range(6)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        salts = pool.starmap(_register, [(str(tmp_path), each) for each in users])
    assert len(set(salts)) == 1
    assert len(rows(str(tmp_path), ERASED_USERS)) == 7


def test_without_its_salt_nobody_knows_who_was_erased(tmp_path: Path) -> None:
    store.create(str(tmp_path), ERASED_USERS)
    with pytest.raises(ContractError, match=r"marquee\.salt is missing"):
        salt_of(store.open_table(str(tmp_path), ERASED_USERS))


def test_the_checkpoints_that_learned_from_a_user_are_named(
    warehouse: str, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Path(warehouse, "checkpoints")
    examples = content(POST_TRAINING_EXAMPLES, [*OTHERS, USER]).to_pylist()
    training = [{**row, "split": "training"} for row in examples]
    store.replace_rows(warehouse, POST_TRAINING_EXAMPLES, training, ds=DAY, split="training")
    ids = {POST_TRAINING_EXAMPLES.name: str(store.open_table(warehouse, POST_TRAINING_EXAMPLES).metadata().id)}
    for name, ds, base, table_ids in (
        ("of/that day", DAY, "tiny", ids),
        ("unfinished", DAY, "tiny", {}),
        ("of another day", date(2026, 1, 9), "tiny", ids),
        ("of another warehouse", DAY, "tiny", {POST_TRAINING_EXAMPLES.name: "another"}),
        ("from that", date(2026, 1, 9), "of/that day@1", ids),
    ):
        write_file(
            made / name / "trainer",
            "run.json",
            json.dumps({"ds": str(ds), "base": base, "table_ids": table_ids}).encode(),
        )
        if name != "unfinished":
            write_file(made / name, "marquee.json", json.dumps({"version": f"{name}@1"}).encode())
    assert erase(marquee, warehouse) == 0
    named = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines() if line.startswith("Trained on")]
    assert named == [str(made / name) for name in ("from that", "of/that day", "unfinished")]


def test_ids_come_from_a_file_and_an_unknown_user_is_said_to_be_one(
    tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse, ids = str(tmp_path / "warehouse"), tmp_path / "ids"
    given = ["erase", "--warehouse", warehouse, "--file", str(ids)]
    assert marquee(*given) == REFUSED
    assert "cannot be read" in capsys.readouterr().err
    ids.write_text("\n")
    assert marquee(*given) == REFUSED
    assert "no user is given" in capsys.readouterr().err
    ids.write_text("é\r\no'brien\n")
    assert marquee(*given) == REFUSED
    assert f"there are no tables in {warehouse}" in capsys.readouterr().err
    store.create(warehouse, WANTED_PAIRS)
    assert marquee(*given) == 0
    assert "No table had a row of theirs" in capsys.readouterr().out
    assert len(rows(warehouse, ERASED_USERS)) == 2


def test_tables_about_users_keep_no_statistics_in_their_logs() -> None:
    for table in PERSONAL:
        assert {"delta.dataSkippingNumIndexedCols": "0"}.items() <= table.properties.items() or (
            table is ARTWORK_SELECTIONS
        )


def test_users_are_erased_from_an_object_store(store: ObjectStore, marquee: RunMarquee) -> None:  # noqa: ARG001
    warehouse = f"s3://{BUCKET}/erase"
    fill(warehouse)
    assert erase(marquee, warehouse, "--purge") == 0
    assert files_with_the_user(warehouse) == []
    for table in (ARTWORK_SELECTIONS, REJECTED_ROWS, HELD_OUT_CONTEXTS):
        assert rows(warehouse, table) == expected(table)
