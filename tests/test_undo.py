"""Undo a night: what stands afterwards, for readers of the table and of its change feed, and what a rerun makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from schemas.contract import ContractError
from schemas.tables import (
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    MADE,
    NIGHT_INPUTS,
    NIGHT_STEPS,
    SERVED,
)
from serving.explain import explanation
from serving.nights import last_nights
from spark_jobs import undo as module
from spark_jobs.publish import publish
from spark_jobs.published import published_nights
from spark_jobs.undo import undo
from tests.night_data import DAY, SmallWarehouse, artwork, day, small_warehouse, viewing

NEW, CHANGED, ENDED, LATER = ("u3", "t1"), ("u1", "t1"), ("u2", "t3"), ("u1", "t2")
State = dict[tuple[str, str], dict[str, Any]]


def state(small: SmallWarehouse) -> State:
    return {(row["user_id"], row["title_id"]): row.asDict(recursive=True) for row in small.rows(ARTWORK_SELECTIONS)}


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallWarehouse, list[State]]:
    """Three nights, and what stood after each. The second adds NEW, changes CHANGED and LATER, and removes ENDED; the
    third changes LATER.
    """
    # Without exploration, the end of an epoch draws the same artwork.
    small = small_warehouse(spark, tmp_path_factory.mktemp("undo"), epsilon=0.0)
    pairs = [CHANGED, LATER, ("u2", "t1"), ("u2", "t2")]
    small.wanted = [(DAY, *pair, 1) for pair in [*pairs, ENDED]] + [(day(1), *pair, 1) for pair in [*pairs, NEW]]
    small.wanted += [(day(2), *LATER, 1)]
    small.artworks = [each for each in small.artworks if each[0] != "a31"] + [artwork("a31", "t3", active_to=DAY)]
    small.history += [viewing("u1", "t3", day(1)), viewing("u1", "t1", day(2), hour=21)]
    small.write_inputs()
    states = []
    for offset, favourite in enumerate(("a11", "a12", "a22")):
        small.run(day(offset), favourite)
        states.append(state(small))
    return small, states


@pytest.fixture
def nights(made: tuple[SmallWarehouse, list[State]], tmp_path: Path) -> SmallWarehouse:
    return made[0].copied(tmp_path)


def followed(small: SmallWarehouse, version: int, before: State) -> State:
    """`before`, kept up to date by the change feed after a version."""
    reader = small.spark.read.format("delta").option("readChangeFeed", "true")
    changes = reader.option("startingVersion", version + 1).load(small.warehouse.path(ARTWORK_SELECTIONS))
    kept = dict(before)
    for row in sorted(changes.collect(), key=lambda row: (row["_commit_version"], row["_change_type"] == "insert")):
        pair = (row["user_id"], row["title_id"])
        if row["_change_type"] == "delete":
            del kept[pair]
        elif row["_change_type"] != "update_preimage":
            kept[pair] = {name: row.asDict(recursive=True)[name] for name in ARTWORK_SELECTIONS.column_names}
    return kept


def test_a_night_is_undone_but_for_what_a_later_night_decided(
    nights: SmallWarehouse, made: tuple[SmallWarehouse, list[State]]
) -> None:
    first, second, third = made[1]
    assert {pair for pair in second if second[pair]["ds"] == day(1)} == {NEW, CHANGED, LATER}
    assert ENDED in first.keys() - second.keys()
    assert {pair for pair in third if third[pair] != second[pair]} == {LATER}

    version = nights.warehouse.version(ARTWORK_SELECTIONS)
    undo(nights.night(day(1)))
    assert state(nights) == {**first, LATER: third[LATER]}
    assert nights.warehouse.version(ARTWORK_SELECTIONS) == version + 1
    assert followed(nights, version, third) == state(nights)
    assert published_nights(nights.night(day(3)), "<") == [DAY, day(2)]
    assert [night.end for night in last_nights(nights.settings.warehouse, 3)] == ["published", "undone", "published"]
    (step,) = nights.night(day(1)).rows(NIGHT_STEPS, "counts", "AND step = 'undo'")
    assert dict(step["counts"]) == {"restored": 2, "removed": 1, "kept_of_later_nights": 1}
    logged = [row for row in nights.rows(ARTWORK_SELECTION_LOG) if row["ds"] == day(1)]
    assert len(logged) == 4
    assert {row["source"] for row in logged} == {"undone"}

    found = explanation(nights.settings, *CHANGED, day(1))
    assert (found["artwork_id"], found["chosen_by_night"]) == (first[CHANGED]["artwork_id"], DAY)
    assert [row["source"] for row in found["history"]] == ["undone", "model"]

    # A later night that began with the undone choices would publish them again.
    with pytest.raises(ContractError, match=f"nothing noted for ds={day(2)}; run the step validate first"):
        publish(nights.night(day(2)))
    undo(nights.night(day(2)))
    assert state(nights) == first


def test_a_night_that_runs_again_after_its_undo_is_the_same_as_without(
    nights: SmallWarehouse, made: tuple[SmallWarehouse, list[State]]
) -> None:
    compared = [table for table in (*MADE, *SERVED) if table not in (NIGHT_STEPS, NIGHT_INPUTS)]
    before = {table.name: nights.rows(table) for table in compared}
    for offset in (2, 1):
        undo(nights.night(day(offset)))
    assert state(nights) == made[1][0]
    for offset, favourite in ((1, "a12"), (2, "a22")):
        nights.run(day(offset), favourite)
    assert {table.name: nights.rows(table) for table in compared} == before
    assert published_nights(nights.night(day(3)), "<") == [DAY, day(1), day(2)]


def stopping(monkeypatch: pytest.MonkeyPatch, name: str, real: Callable[..., Any], after: bool) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        if after:
            real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, stop)


@pytest.mark.parametrize(("name", "after"), [("merge", False), ("merge", True), ("replace_rows", True)])
def test_an_undo_that_was_killed_is_finished_by_the_next(
    nights: SmallWarehouse,
    made: tuple[SmallWarehouse, list[State]],
    name: str,
    after: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        stopping(patch, name, getattr(module, name), after)
        with pytest.raises(KeyboardInterrupt):
            undo(nights.night(day(1)))
    for _ in range(2):
        undo(nights.night(day(1)))
        assert state(nights) == {**made[1][0], LATER: made[1][2][LATER]}
    assert published_nights(nights.night(day(3)), "<") == [DAY, day(2)]
    assert nights.night(day(2)).rows(NIGHT_INPUTS) == []


def test_a_night_that_published_nothing_has_nothing_to_undo(nights: SmallWarehouse) -> None:
    with pytest.raises(ContractError, match=f"the night of {day(4)} has published nothing in .*nothing to undo"):
        undo(nights.night(day(4)))
