"""A warehouse in S3: a whole night, every way to read it, and writers that commit at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from examples.sample import fill_once, service_of
from examples.service import PART, write_service
from examples.simulated import simulated_service
from examples.truth import has_truth, read_truth
from inference.champion import model_of_tonight
from inference.checkpoint import MANIFEST, read_checkpoint, write_manifest
from inference.fetch import keep, working_folder
from schemas.contract import ContractError
from schemas.files import names_below, read_file, remove, upload, write_file
from schemas.settings import Settings, settings
from schemas.store import create, last_day
from schemas.tables import ARTWORK_SELECTIONS, MADE, NIGHT_STEPS, SERVED, TITLE_DEFAULTS, VIEWING_HISTORY
from serving.fingerprint import fingerprints
from tests.conftest import ROOT
from tests.night_data import SmallWarehouse, small_checkpoint, small_warehouse
from tests.object_store import BUCKET, CARELESS, ObjectStore
from tests.recipes import recipes, run_recipe
from training.registry import Registry

ROUNDS, ROUNDS_OF_DRIVERS = 20, 5
_SECONDS_BETWEEN_COMMITS = 0.2
pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(scope="module")
def small(spark: SparkSession, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> SmallWarehouse:  # noqa: ARG001
    """A night in the store, another one in which a choice changes, and the other one again."""
    made = small_warehouse(spark, tmp_path_factory.mktemp("store"), warehouse=f"s3://{BUCKET}/night")
    made.write_inputs()
    made.run()
    return made


def snapshot(small: SmallWarehouse) -> dict[str, list[Any]]:
    """All rows, without times and without the versions of tables that a rerun writes again."""
    return {
        table.name: small.rows(table)
        for table in (*MADE, *SERVED)
        if table.name not in ("night_inputs", NIGHT_STEPS.name)
    }


def test_a_night_and_its_rerun_give_the_same_tables(small: SmallWarehouse) -> None:
    before = snapshot(small)
    assert len(before[ARTWORK_SELECTIONS.name]) == 9
    small.run()
    assert snapshot(small) == before


@pytest.mark.parametrize(("engine", "task"), recipes())
def test_every_recipe_reads_the_store(engine: str, task: str, small: SmallWarehouse) -> None:
    chosen = {(row["user_id"], row["title_id"]): row["artwork_id"] for row in small.rows(ARTWORK_SELECTIONS)}
    given = {"warehouse": small.settings.warehouse, "user_id": "u1", "title_id": "t1", "since": 0, "spark": small.spark}
    found = {
        (row.get("user_id", "u1"), row.get("title_id", "t1")): row["artwork_id"]
        for row in run_recipe(recipes()[engine, task], f"{engine}, {task}", given)
    }
    of_user = {pair: artwork for pair, artwork in chosen.items() if pair[0] == "u1"}
    expected = {"One pair": {("u1", "t1"): chosen["u1", "t1"]}, "A user's pairs": of_user}
    assert found == expected.get(task, chosen)


def test_a_sample_is_written_with_its_truth_and_a_killed_run_is_made_again() -> None:
    warehouse = f"s3://{BUCKET}/sample"
    service = simulated_service(users=3, titles=4, days=2, seed=1)
    write_file(warehouse, PART, b"")
    write_file(warehouse, f"{VIEWING_HISTORY.name}/left.parquet", b"by a killed run")
    fill_once(warehouse, "simulated", None, users=3)
    names = list(names_below(warehouse))
    assert PART not in names
    assert f"{VIEWING_HISTORY.name}/left.parquet" not in names
    assert service_of(warehouse) == "simulated"
    assert has_truth(warehouse)
    before = last_day(warehouse)
    fill_once(warehouse, "simulated", None, users=3)
    assert (last_day(warehouse), list(names_below(warehouse))) == (before, names)
    with pytest.raises(ContractError, match=f"^{warehouse} is not empty"):
        write_service(service, warehouse)


def test_a_sample_in_the_store_equals_one_in_a_folder(tmp_path: Path) -> None:
    places = (f"s3://{BUCKET}/equal", str(tmp_path / "equal"))
    for place in places:
        write_service(simulated_service(users=3, titles=4, days=2, seed=1), place)
    assert fingerprints(places[0]) == fingerprints(places[1])
    in_store, in_folder = map(read_truth, places)
    assert in_store.user_row == in_folder.user_row
    assert (in_store.tastes == in_folder.tastes).all()


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """The URI of a checkpoint in the store."""
    folder, uri = small_checkpoint(tmp_path / "checkpoint"), f"s3://{BUCKET}/{tmp_path.name}/checkpoint"
    upload(folder, [file.name for file in folder.iterdir()], uri)
    return uri


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache of a machine of its own."""
    monkeypatch.setenv("MARQUEE_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield tmp_path / "cache"
    settings.cache_clear()


def test_a_checkpoint_is_fetched_once_and_keeps_its_address(checkpoint: str, cache: Path, store: ObjectStore) -> None:
    fetched = read_checkpoint(checkpoint)
    assert (fetched.source, fetched.path.parent) == (checkpoint, cache / "checkpoints")
    store.counts()
    assert read_checkpoint(checkpoint) == fetched
    # One request for the manifest, which says that the copy is that checkpoint.
    assert store.counts()["GET"] == 1
    config = Settings(model=checkpoint, warehouse=f"s3://{BUCKET}/warehouse")
    assert model_of_tonight(config).model == fetched


def test_a_copy_that_no_task_used_for_a_month_goes_when_another_comes(checkpoint: str, cache: Path) -> None:
    unused = read_checkpoint(checkpoint)
    another = f"{checkpoint}-2"
    upload(unused.path, [file.name for file in unused.path.iterdir()], another)
    second = read_checkpoint(another)
    assert unused.path.is_dir()
    for lock in (cache / "checkpoints").glob("*.lock"):
        os.utime(lock, (0, 0))
    assert read_checkpoint(another) == second
    third = f"{checkpoint}-3"
    upload(unused.path, [file.name for file in unused.path.iterdir()], third)
    kept = {second.path, read_checkpoint(third).path}
    assert {each for each in (cache / "checkpoints").iterdir() if each.is_dir()} == kept
    assert read_checkpoint(checkpoint) == unused


def test_a_checkpoint_of_which_a_file_was_replaced_is_refused_and_not_kept(checkpoint: str, cache: Path) -> None:
    write_file(checkpoint, "model.safetensors", b"of another one")
    with pytest.raises(
        ContractError, match=r"model\.safetensors: the file is not the one that marquee\.json describes"
    ):
        read_checkpoint(checkpoint)
    assert [each for each in (cache / "checkpoints").iterdir() if each.is_dir()] == []
    remove(checkpoint, ["marquee.json"])
    with pytest.raises(ContractError, match=r"marquee\.json: the file is missing; write it in a folder"):
        read_checkpoint(checkpoint)
    with pytest.raises(ContractError, match="change it in a folder"):
        write_manifest(checkpoint, "name")


def test_a_trained_checkpoint_is_kept_in_the_store_and_found_by_another_machine(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"{checkpoint}-trained"
    work = working_folder(uri, MANIFEST, "trainer/run.json")
    shutil.copytree(read_checkpoint(checkpoint).path, work)
    (work / "trainer").mkdir()
    (work / "trainer" / "run.json").write_text("{}")
    (work / "trainer" / "optimizer.pt").write_text("large")
    keep(work, uri, MANIFEST, "trainer/run.json")
    names = set(names_below(uri))
    assert names == {*(name for name in names_below(checkpoint)), "trainer/run.json"}
    monkeypatch.setenv("MARQUEE_CACHE", str(tmp_path / "another"))
    settings.cache_clear()
    there = working_folder(uri, MANIFEST, "trainer/run.json")
    assert {str(file.relative_to(there)) for file in there.rglob("*") if file.is_file()} == names
    assert read_checkpoint(uri).version == read_checkpoint(checkpoint).version


def test_a_registry_knows_a_checkpoint_by_its_address_and_keeps_pages_in_the_store(
    checkpoint: str, tmp_path: Path
) -> None:
    config = Settings(registry=f"sqlite:///{tmp_path}/registry.db", checkpoints=f"{checkpoint}s")
    registry = Registry(config.registry, config.checkpoints)
    run = registry.keep_run("a run", {"dr_value": 0.5}, {}, {"report.html": "<p>"})
    version = registry.register(read_checkpoint(checkpoint), run)
    registry.promote(version)
    assert version.source == checkpoint
    assert model_of_tonight(config).model.source == checkpoint
    (name,) = (name for name in names_below(config.checkpoints) if name.endswith("/report.html"))
    assert read_file(config.checkpoints, name) == b"<p>"


OTHER_DRIVER = """
import sys
import pyarrow as pa
from spark_jobs.session import spark_session
spark = spark_session("another driver", **{"spark.master": "local[1]", "spark.ui.enabled": "false"})
for table, name in map(str.split, sys.stdin):
    spark.createDataFrame(pa.table({"id": [name]})).coalesce(1).write.format("delta").mode("append").save(table)
    print(name, flush=True)
"""


@contextmanager
def another_driver() -> Iterator[Callable[[str, str], None]]:
    """A Spark driver in a process of its own, as a function that appends a row to a table."""
    env = {**os.environ, "MARQUEE_WAREHOUSE": f"s3://{BUCKET}/warehouse"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_DRIVER], cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def append(table: str, name: str) -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{table} {name}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{name}\n"

        yield append
        process.stdin.close()


def test_no_acknowledged_commit_is_lost_of_spark_and_delta_rs_or_of_two_drivers_at_the_same_time(
    spark: SparkSession, store: ObjectStore
) -> None:
    table, acknowledged = f"s3://{BUCKET}/race", []
    write_deltalake(table, pa.table({"id": pa.array([], pa.string())}))
    # Opening it anew would read its whole log.
    opened = DeltaTable(table)
    retried = CommitProperties(max_commit_retries=100)

    def by_spark(name: str) -> None:
        spark.createDataFrame(pa.table({"id": [name]})).coalesce(1).write.format("delta").mode("append").save(table)
        acknowledged.append(name)

    def by_delta_rs(name: str, ended: Event) -> None:
        for number in count():
            if ended.wait(_SECONDS_BETWEEN_COMMITS):
                return
            rows = pa.table({"id": [f"{name}-{number}"]})
            write_deltalake(opened, rows, mode="append", commit_properties=retried)
            acknowledged.append(f"{name}-{number}")

    by_spark("first")
    store.counts()
    for number in range(ROUNDS):
        ended = Event()
        with ThreadPoolExecutor() as pool:
            meanwhile = pool.submit(by_delta_rs, f"delta-rs-{number}", ended)
            by_spark(f"spark-{number}")
            ended.set()
            meanwhile.result()
    # Spark creates a checksum under a condition, too. Without more commits than that, no two met, and this is no race.
    assert store.counts()["conditional"] > len(acknowledged) + ROUNDS
    with another_driver() as append:

        def by_the_other_driver(name: str) -> None:
            append(table, name)
            acknowledged.append(name)

        by_the_other_driver("other")
        for number in range(ROUNDS, ROUNDS + ROUNDS_OF_DRIVERS):
            with ThreadPoolExecutor() as pool:
                meanwhile = pool.submit(by_the_other_driver, f"other-{number}")
                by_spark(f"spark-{number}")
                meanwhile.result()
    assert len(acknowledged) > 2 * (ROUNDS + ROUNDS_OF_DRIVERS)
    assert sorted(DeltaTable(table).to_pyarrow_table()["id"].to_pylist()) == sorted(acknowledged)


def test_the_log_store_never_replaces_a_commit_and_recognizes_its_own(spark: SparkSession) -> None:
    """A client whose answer was lost repeats its request, and finds that its commit exists."""
    jvm: Any = spark._jvm
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    path = jvm.org.apache.hadoop.fs.Path(f"s3://{BUCKET}/log/_delta_log/00000000000000000000.json")
    log_store = jvm.marquee.ConditionalPutLogStore(conf)

    def write(*actions: str, overwrite: bool = False) -> None:
        lines = jvm.java.util.ArrayList()
        for action in actions:
            lines.add(action)
        log_store.write(path, lines.iterator(), overwrite, conf)

    write("ours", "é")
    write("ours", "é")
    with pytest.raises(Py4JJavaError, match="FileAlreadyExistsException"):
        write("theirs")
    lines = log_store.read(path, conf)
    assert [lines.next(), lines.next(), lines.hasNext()] == ["ours", "é", False]
    write("checkpoint", overwrite=True)
    assert log_store.read(path, conf).next() == "checkpoint"


def test_a_store_that_ignores_conditions_is_refused_before_anything_is_written() -> None:
    warehouse = f"s3://{CARELESS}/warehouse"
    with pytest.raises(ContractError, match=rf"^{warehouse}: the store replaced an object that .* may only create"):
        create(warehouse, TITLE_DEFAULTS)
    assert list(names_below(warehouse)) == []


def test_a_bucket_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(ContractError, match=r"^s3://nowhere/warehouse: the object store refused: .*$"):
        create("s3://nowhere/warehouse", TITLE_DEFAULTS)
