"""Undo a night: what stands afterwards, for readers of the table and of its change feed, and what a rerun makes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from delta.exceptions import ConcurrentAppendException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

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
from spark_jobs.audit import audit
from spark_jobs.merging import merge
from spark_jobs.publish import publish
from spark_jobs.published import published_nights
from spark_jobs.undo import undo
from tests.night_data import DAY, SmallWarehouse, artwork, day, small_warehouse, viewing

NEW, CHANGED, ENDED, LATER = ("u3", "t1"), ("u1", "t1"), ("u2", "t3"), ("u1", "t2")
UNPUBLISHED = "undo-unpublished"
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
        small.prepare(day(offset))
        small.score(day(offset), favourite)
        audit(small.night(day(offset)))
        if offset == 2:
            small.copied(tmp_path_factory.getbasetemp() / UNPUBLISHED)
        publish(small.night(day(offset)))
        states.append(state(small))
    return small, states


@pytest.fixture
def unpublished(
    made: tuple[SmallWarehouse, list[State]], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> SmallWarehouse:
    """The third night before it is published."""
    before = str(tmp_path_factory.getbasetemp() / UNPUBLISHED / "warehouse")
    settings = made[0].settings.model_copy(update={"warehouse": before})
    return SmallWarehouse(made[0].spark, settings).copied(tmp_path)


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


def during(work: Callable[[], None], real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, with `work` done before it."""

    def both(*arguments: Any) -> Any:
        work()
        return real(*arguments)

    return both


def test_a_publish_whose_inputs_an_undo_forgets_meanwhile_begins_again(
    unpublished: SmallWarehouse, made: tuple[SmallWarehouse, list[State]], monkeypatch: pytest.MonkeyPatch
) -> None:
    undone = during(lambda: undo(unpublished.night(day(1))), published_nights)
    with monkeypatch.context() as patch:
        patch.setattr("spark_jobs.publish.published_nights", undone)
        with pytest.raises(ContractError, match=rf"undone while {day(2)} was published: begin it again \(validate\)"):
            publish(unpublished.night(day(2)))
    # It has logged its choice of LATER, which the undo leaves to the rerun.
    assert state(unpublished) == {**made[1][0], LATER: made[1][1][LATER]}


def test_a_publish_that_merges_after_an_undo_changes_its_own_pairs_only(
    unpublished: SmallWarehouse, made: tuple[SmallWarehouse, list[State]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spark_jobs.publish.merge", during(lambda: undo(unpublished.night(day(1))), merge))
    publish(unpublished.night(day(2)))
    assert state(unpublished) == {**made[1][0], LATER: made[1][2][LATER]}


@dataclass
class Held:
    """A Delta table whose MERGE has read its version, and waits before it reads its source until `go` is opened."""

    table: Any
    begun: str
    go: str

    def alias(self, name: str) -> Held:
        return Held(self.table.alias(name), self.begun, self.go)

    def merge(self, source: DataFrame, condition: str) -> Any:
        begun, go, mark = self.begun, self.go, f"{self.begun}.mark"

        def wait(user_id: str) -> str:
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return user_id
            # Opening a pipe waits for its other end.
            for pipe, mode in ((begun, os.O_WRONLY), (go, os.O_RDONLY)):
                os.close(os.open(pipe, mode))
            return user_id

        return self.table.merge(source.withColumn("user_id", F.udf(wait)("user_id")).alias("s"), condition)


def test_of_an_undo_and_a_publish_that_commit_at_once_the_publish_fails_and_begins_again(
    unpublished: SmallWarehouse,
    made: tuple[SmallWarehouse, list[State]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go = str(tmp_path / "begun"), str(tmp_path / "go")
    for pipe in (begun, go):
        os.mkfifo(pipe)
    first, second, third = made[1]
    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr("spark_jobs.publish.merge", lambda *given: merge(Held(given[0], begun, go), *given[1:]))  # type: ignore[arg-type]
        publishing = pool.submit(publish, unpublished.night(day(2)))
        # Opened for both, a pipe waits for nobody: if it fails too early, this test does not hang.
        publishing.add_done_callback(lambda _: os.open(begun, os.O_RDWR))
        os.close(os.open(begun, os.O_RDONLY))
        try:
            undo(unpublished.night(day(1)))
        finally:
            os.open(go, os.O_RDWR)
        with pytest.raises(ConcurrentAppendException):
            publishing.result()
    assert state(unpublished) == {**first, LATER: second[LATER]}
    with pytest.raises(ContractError, match="run the step validate first"):
        publish(unpublished.night(day(2)))
    unpublished.run(day(2), "a22")
    assert state(unpublished) == {pair: row for pair, row in first.items() if pair != ENDED} | {LATER: third[LATER]}


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
