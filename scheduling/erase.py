"""Erase users (`marquee erase`), and say what went, what remains, and where."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta

from rich.console import Group
from rich.markup import escape
from rich.table import Table as Printed

from schemas import store
from schemas.contract import ContractError, Table
from schemas.erased import mark, register, remaining, remove
from schemas.exit_codes import RunError
from schemas.purge import purge
from schemas.settings import Settings
from schemas.store import has_table, literals, open_table
from schemas.tables import ARTWORK_SELECTIONS, INPUTS, POST_TRAINING_EXAMPLES, TABLES


def erase(
    config: Settings,
    users: set[str],
    purged: bool,
    now: datetime,
    trained_on: Callable[[Settings, Collection[str]], list[str]],
) -> Group:
    """Erase `users` from all tables that Marquee writes, and, with `purged`, from their files. It may be run again at
    any time, and after it was killed. `trained_on` finds the checkpoints that were trained on days. Raises
    ContractError if there are no tables, RunError if a running step wrote rows of the users at the same time.
    """
    if not any(has_table(config.warehouse, table) for table in TABLES.values()):
        raise ContractError(f"there are no tables in {config.warehouse}")
    erased = register(config.warehouse, users)
    days = _days_of_training(config.warehouse, users)
    # All rows first: purging takes longer, and choices are served until their rows are gone.
    first = list(remove(config.warehouse, erased))
    # A step that began meanwhile may have read rows that are gone now. What it has written goes here, the rest at its
    # end, which finds the mark.
    mark(config.warehouse, now)
    again = dict(remove(config.warehouse, erased))
    gone = [(table, rows + again.get(table, 0)) for table, rows in first]
    files: dict[Table, tuple[int, int]] = {}
    if purged:
        files = {table: purge(config.warehouse, table, users, erased.buckets, now) for table, _ in gone}
        if any(rows for _, rows in remove(config.warehouse, erased)):
            raise RunError("a step wrote rows of the users while their files were purged; run it again")
    checkpoints = trained_on(config, days)
    return Group(_gone(gone, files), "", *_remarks(config, users, gone, files, checkpoints, now))


def _days_of_training(warehouse: str, users: set[str]) -> set[str]:
    """The days whose training examples have a row of one of the users."""
    if not has_table(warehouse, POST_TRAINING_EXAMPLES):
        return set()
    found = store.rows(
        f"SELECT DISTINCT ds FROM examples WHERE split = 'training' AND user_id IN ({literals(users)})",
        examples=open_table(warehouse, POST_TRAINING_EXAMPLES),
    )
    return {str(row["ds"]) for row in found}


def _gone(gone: list[tuple[Table, int]], files: dict[Table, tuple[int, int]]) -> Printed:
    table = Printed(header_style="bold", box=None, pad_edge=False)
    table.add_column("table", min_width=28)
    for heading in ("rows erased", *(("files removed",) if files else ())):
        table.add_column(heading, justify="right")
    for each, rows in gone:
        table.add_row(each.name, f"{rows:,}", *((f"{files[each][0]:,}",) if files else ()))
    return table


def _remarks(
    config: Settings,
    users: set[str],
    gone: list[tuple[Table, int]],
    files: dict[Table, tuple[int, int]],
    checkpoints: list[str],
    now: datetime,
) -> Iterator[str]:
    if not any(rows for _, rows in gone):
        yield "No table had a row of theirs."
    if files:
        if files.get(ARTWORK_SELECTIONS, (0, 0))[0]:
            yield (
                f"{ARTWORK_SELECTIONS.name}: a reader of the change feed who has not read all of it loads the table "
                "anew (docs/reading.md); a night that has begun begins again (step validate)."
            )
        for table, (_, left) in files.items():
            if left:
                yield (
                    f"{table.name}: {left:,} files of the last day are in no version: a running step may be writing "
                    "them, or was killed. Purge again tomorrow."
                )
    else:
        until = (now + timedelta(days=config.retention_days)).date()
        yield (
            f"Old versions may hold them until {until}: the first maintenance after that day removes their files; "
            "--purge does it now."
        )
    for table in INPUTS:
        if "user_id" in table.column_names and (rows := remaining(config.warehouse, table, users)):
            yield f"{table.name}: {rows:,} rows remain. Nights leave them out; their owner has to delete them."
    yield from (f"Trained on examples of theirs: {escape(place)}" for place in checkpoints)
    yield (
        f"Checkpoints in {escape(config.checkpoints)} that were trained on their examples remain as they are; of a day "
        "whose examples are gone, nobody knows. Later ones do not see the users. The registry and its pages hold "
        "figures over all users only."
    )
