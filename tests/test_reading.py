"""Every recipe of docs/reading.md, run against a table with deletion vectors and a change feed."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from schemas.buckets import bucket_of
from schemas.settings import Settings
from schemas.store import literals, open_table, rows
from schemas.tables import ARTWORK_SELECTIONS, SERVED, TITLE_DEFAULTS
from serving.fingerprint import fingerprints
from serving.lookup import choices_of
from serving.selections import Selections
from spark_jobs.warehouse import Warehouse
from tests.recipes import PAGE, recipes, run_recipe

README = PAGE.parent.parent / "README.md"
USERS = [str(number) for number in range(1, 61)]
TITLES = ["t1", "t2"]
BUCKETS = 4
HOSTILE = {
    "a quote": "o'brien",
    "SQL that is always true": "x' OR '1'='1",
    "SQL that is a comment": "1' --",
    "a backslash": "a\\b",
    "a backslash at the end": "a\\",
    "an escaped quote": "a\\'b",
    "a double quote": 'a"b',
    "a backtick": "a`b",
    "any characters of LIKE": "%",
    "one character of LIKE": "_",
    "a space": " ",
    "a parameter by place": "?",
    "a parameter by name": ":user_id",
    "a parameter by number": "$1",
    "a name in braces": "{user_id}",
    "a line break": "a\nb",
    "an accent": "é",
    "an emoji": "👍🏽",
    "a NUL": "a\0b",
    "hexadecimal digits": "6f27",
    "nothing but its length": "x" * 5000,
}
"""Ids with special meanings in some query language. Each is a user and a title."""
ABSENT = {
    "SQL that is always true": "nobody' OR '1'='1",
    "SQL that is always true after an escape": "nobody\\' OR 1=1 --",
    "a doubled quote": "o''brien",
    "a doubled backslash": "a\\\\b",
    "nothing": "",
    "two spaces": "  ",
    "an accent of its own": "e\u0301",
    "up to a NUL": "a",
    "a prefix of a known id": "x" * 4999,
    "a known id with a suffix": "x" * 5001,
}
"""Ids that do not exist, each similar to one that does."""


@dataclass(frozen=True)
class Published:
    """A warehouse with two nights, and the version after the first."""

    warehouse: str
    since: int


def choice(user_id: str, title_id: str, artwork_id: str, ds: date) -> dict[str, Any]:
    ranking = [(artwork_id, 0.7, 0.6), (f"{title_id}-other", 0.3, 0.4)]
    return {
        "bucket": bucket_of(user_id, BUCKETS),
        "user_id": user_id,
        "title_id": title_id,
        "artwork_id": artwork_id,
        "probability": 0.7,
        "propensity": 0.6,
        "ranking": ranking,
        "source": "model",
        "model_version": "tiny-1",
        "prompt_hash": 1,
        "ds": ds,
        "updated_at": datetime(ds.year, ds.month, ds.day, tzinfo=UTC),
    }


def first_artwork(title_id: str) -> str:
    return f"{title_id}-a"


def changed_artwork(title_id: str) -> str:
    return f"{title_id}-b"


def titles(user_id: str) -> list[str]:
    """The titles of a hostile user: those of the others, and one with the same id."""
    return [*TITLES, user_id]


CHANGED_USER, REMOVED_USER, NEW_USER = USERS[0], USERS[1], "999"


@pytest.fixture(scope="module")
def published(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Two nights, the second by MERGE with one user changed, one removed and one new."""
    folder = tmp_path_factory.mktemp("reading") / "warehouse"
    warehouse = Warehouse(spark, Settings(warehouse=str(folder), buckets=BUCKETS))
    warehouse.create_missing(SERVED)
    schema = ARTWORK_SELECTIONS.spark_schema()
    night_1, night_2 = date(2026, 1, 5), date(2026, 1, 6)
    first = [choice(user, title, first_artwork(title), night_1) for user in USERS for title in TITLES]
    first += [choice(user, title, first_artwork(title), night_1) for user in HOSTILE.values() for title in titles(user)]
    # One file per bucket, so that a change leaves most of a file unchanged and writes a deletion vector.
    spark.createDataFrame(first, schema).repartition(1).write.format("delta").mode("append").save(
        warehouse.path(ARTWORK_SELECTIONS)
    )
    since = warehouse.version(ARTWORK_SELECTIONS)

    second = [
        choice(user, title, changed_artwork(title), night_2) for user in (CHANGED_USER, NEW_USER) for title in TITLES
    ]
    second += [choice(REMOVED_USER, title, "", night_2) for title in TITLES]
    (
        warehouse.delta(ARTWORK_SELECTIONS)
        .alias("t")
        .merge(
            spark.createDataFrame(second, schema).alias("s"),
            "t.bucket = s.bucket AND t.user_id = s.user_id AND t.title_id = s.title_id",
        )
        .whenMatchedDelete("s.artwork_id = ''")
        .whenMatchedUpdateAll()
        .whenNotMatchedInsertAll()
        .execute()
    )
    spark.createDataFrame(
        [(title, f"{title}-default") for title in [*TITLES, "t3"]], TITLE_DEFAULTS.spark_schema()
    ).write.format("delta").mode("append").save(warehouse.path(TITLE_DEFAULTS))
    return Published(warehouse.settings.warehouse, since)


def run(
    engine: str, task: str, published: Published, spark: SparkSession, user_id: str, title_id: str = TITLES[0]
) -> list[dict[str, Any]]:
    given = {
        "warehouse": published.warehouse,
        "user_id": user_id,
        "title_id": title_id,
        "since": published.since,
        "spark": spark,
    }
    return run_recipe(recipes()[engine, task], f"{engine}, {task}", given)


ENGINES = ["deltalake", "Polars", "DuckDB", "PySpark"]


def test_every_engine_has_every_recipe() -> None:
    tasks = ["One pair", "A user's pairs", "A bulk load", "Only what changed"]
    assert list(recipes()) == [(engine, task) for engine in ENGINES for task in tasks]


def test_the_table_has_what_makes_reading_hard(published: Published) -> None:
    table = DeltaTable(f"{published.warehouse}/artwork_selections")
    assert table.metadata().configuration["delta.enableChangeDataFeed"] == "true"
    assert pa.table(table.deletion_vectors()).num_rows > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_one_pair(engine: str, published: Published, spark: SparkSession) -> None:
    found = run(engine, "One pair", published, spark, CHANGED_USER)
    assert found == [{"artwork_id": changed_artwork(TITLES[0]), "propensity": 0.6}]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_removed_pair_is_not_found(engine: str, published: Published, spark: SparkSession) -> None:
    assert run(engine, "One pair", published, spark, REMOVED_USER) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_users_pairs(engine: str, published: Published, spark: SparkSession) -> None:
    found = {row["title_id"]: row["artwork_id"] for row in run(engine, "A user's pairs", published, spark, USERS[2])}
    default = {"t3": "t3-default"} if engine == "DuckDB" else {}
    assert found == {title: first_artwork(title) for title in TITLES} | default


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bulk_load(engine: str, published: Published, spark: SparkSession) -> None:
    found = run(engine, "A bulk load", published, spark, USERS[0])
    pairs = [(user, title) for user in {*USERS, NEW_USER} - {REMOVED_USER} for title in TITLES]
    pairs += [(user, title) for user in HOSTILE.values() for title in titles(user)]
    assert sorted((row["user_id"], row["title_id"]) for row in found) == sorted(pairs)
    changed = {row["user_id"] for row in found if row["artwork_id"] == changed_artwork(row["title_id"])}
    assert changed == {CHANGED_USER, NEW_USER}


@pytest.mark.parametrize("engine", ENGINES)
def test_only_what_changed(engine: str, published: Published, spark: SparkSession) -> None:
    found = run(engine, "Only what changed", published, spark, USERS[0])
    assert {(row["user_id"], row["title_id"], row["_change_type"]) for row in found} == {
        (user, title, kind)
        for title in TITLES
        for user, kind in ((CHANGED_USER, "update_postimage"), (REMOVED_USER, "delete"), (NEW_USER, "insert"))
    }
    assert {row["_commit_version"] for row in found} == {published.since + 1}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_hostile_id_finds_its_own_rows_only(
    engine: str, hostile: str, published: Published, spark: SparkSession
) -> None:
    default = {"t3": "t3-default"} if engine == "DuckDB" else {}
    assert run(engine, "One pair", published, spark, hostile, hostile) == [
        {"artwork_id": first_artwork(hostile), "propensity": 0.6}
    ]
    found = [(row["title_id"], row["artwork_id"]) for row in run(engine, "A user's pairs", published, spark, hostile)]
    assert sorted(found) == sorted([(title, first_artwork(title)) for title in titles(hostile)] + [*default.items()])


@pytest.mark.parametrize("absent", ABSENT.values(), ids=ABSENT)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_hostile_id_that_nobody_has_finds_nothing(
    engine: str, absent: str, published: Published, spark: SparkSession
) -> None:
    defaults = {title: f"{title}-default" for title in [*TITLES, "t3"]} if engine == "DuckDB" else {}
    assert run(engine, "One pair", published, spark, USERS[2], absent) == []
    found = [(row["title_id"], row["artwork_id"]) for row in run(engine, "A user's pairs", published, spark, absent)]
    assert sorted(found) == sorted(defaults.items())


def readme_prints(
    user_id: str, published: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The output of README's snippet in the warehouse's parent folder, with `user_id` instead of 42."""
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert snippet.count('"42"') == 1
    monkeypatch.chdir(Path(published.warehouse).parent)
    exec(compile(snippet.replace('"42"', repr(user_id)), README.name, "exec"), {})
    return capsys.readouterr().out


def lines(artworks: dict[str, str]) -> str:
    return "".join(f"{title} {artworks[title]} 0.6\n" for title in sorted(artworks))


@pytest.mark.parametrize("user_id", ["42", *HOSTILE.values()], ids=["a number", *HOSTILE])
def test_readmes_snippet_prints_the_users_rows_only(
    user_id: str, published: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {title: first_artwork(title) for title in (TITLES if user_id == "42" else titles(user_id))}
    assert readme_prints(user_id, published, monkeypatch, capsys) == lines(expected)


@pytest.mark.parametrize("user_id", ABSENT.values(), ids=ABSENT)
def test_readmes_snippet_prints_nothing_for_a_user_whom_nobody_knows(
    user_id: str, published: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert readme_prints(user_id, published, monkeypatch, capsys) == ""


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_selections_of_a_hostile_id_are_its_own(hostile: str, published: Published) -> None:
    selections = Selections.of(published.warehouse)
    found = {row["title_id"]: row["artwork_id"] for row in selections.of_user(hostile)}
    assert found == {title: first_artwork(title) for title in titles(hostile)}
    pair = selections.of_pair(hostile, hostile)
    assert pair is not None
    assert (pair["user_id"], pair["title_id"]) == (hostile, hostile)
    assert selections.of_pair(USERS[2], hostile) is None
    assert selections.default(hostile) is None


@pytest.mark.parametrize("absent", ABSENT.values(), ids=ABSENT)
def test_selections_of_a_hostile_id_that_nobody_has_are_none(absent: str, published: Published) -> None:
    selections = Selections.of(published.warehouse)
    assert selections.of_user(absent) == []
    assert selections.of_pair(USERS[2], absent) is None
    assert selections.default(absent) is None


def test_names_are_selected_by_hostile_ids(published: Published) -> None:
    table = open_table(published.warehouse, ARTWORK_SELECTIONS)
    wanted = [HOSTILE["a quote"], HOSTILE["a NUL"], *ABSENT.values()]
    found = rows(f"SELECT DISTINCT user_id FROM selections WHERE user_id IN ({literals(wanted)})", selections=table)
    assert sorted(row["user_id"] for row in found) == sorted(wanted[:2])
    assert rows(f"SELECT user_id FROM selections WHERE user_id IN ({literals([])})", selections=table) == []


def test_selections_look_up_pairs_users_and_defaults(published: Published) -> None:
    selections = Selections.of(published.warehouse)
    assert selections.buckets == BUCKETS
    assert [row["artwork_id"] for row in selections.of_user(USERS[2])] == [first_artwork(title) for title in TITLES]
    pair = selections.of_pair(CHANGED_USER, "t2")
    assert pair is not None
    assert pair["ranking"][0] == {"artwork_id": changed_artwork("t2"), "probability": 0.7, "propensity": 0.6}
    assert selections.of_pair(REMOVED_USER, "t2") is None
    assert selections.of_user("nobody") == []
    assert selections.default("t3") == "t3-default"
    assert selections.default("t4") is None


def test_a_user_without_a_choice_gets_the_titles_default(published: Published) -> None:
    selections = Selections.of(published.warehouse)
    assert choices_of(selections, REMOVED_USER, "t1") == [
        {"title_id": "t1", "artwork_id": "t1-default", "source": "title_defaults"}
    ]
    assert choices_of(selections, REMOVED_USER, "t4") == []


def test_a_lookup_reads_one_bucket_only(published: Published, tmp_path: Path) -> None:
    """A lookup still works when the files of every other bucket are gone."""
    warehouse = tmp_path / "w"
    shutil.copytree(published.warehouse, warehouse)
    bucket = bucket_of(USERS[5], BUCKETS)
    for folder in (warehouse / "artwork_selections").glob("bucket=*"):
        if folder.name != f"bucket={bucket}":
            shutil.rmtree(folder)
    assert len(Selections.of(str(warehouse)).of_user(USERS[5])) == len(TITLES)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_recipe_reads_one_bucket_only(engine: str, published: Published, spark: SparkSession, tmp_path: Path) -> None:
    user = HOSTILE["SQL that is always true"]
    kept = Published(str(tmp_path / "w"), published.since)
    shutil.copytree(published.warehouse, kept.warehouse)
    for folder in Path(kept.warehouse, "artwork_selections").glob("bucket=*"):
        if folder.name != f"bucket={bucket_of(user, BUCKETS)}":
            shutil.rmtree(folder)
    assert len(run(engine, "One pair", kept, spark, user)) == 1
    assert {*titles(user)} <= {row["title_id"] for row in run(engine, "A user's pairs", kept, spark, user)}


def test_equal_rows_have_equal_fingerprints_whatever_their_files(
    published: Published, spark: SparkSession, tmp_path: Path
) -> None:
    copy = tmp_path / "w" / "artwork_selections"
    there = spark.read.format("delta").load(f"{published.warehouse}/artwork_selections")
    there.orderBy("title_id", "user_id").write.format("delta").save(str(copy))
    assert (
        fingerprints(str(copy.parent))["artwork_selections"] == fingerprints(published.warehouse)["artwork_selections"]
    )
    there.where("user_id != '7'").write.format("delta").mode("overwrite").save(str(copy))
    assert (
        fingerprints(str(copy.parent))["artwork_selections"] != fingerprints(published.warehouse)["artwork_selections"]
    )
