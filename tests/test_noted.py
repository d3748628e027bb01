"""A night reads its inputs as they were when it began, or stops with one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from schemas.contract import ContractError
from schemas.tables import NIGHT_INPUTS, TITLE_CHOICES, TITLES
from spark_jobs.candidates import candidates
from spark_jobs.contexts import contexts
from spark_jobs.validate import validate
from tests.night_data import DAY, SmallWarehouse, small_warehouse, title

AGAIN = rf"since the work on {DAY} began: begin it again \(step validate; of post-training: examples\)$"


@pytest.fixture(scope="module")
def prepared(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallWarehouse:
    """A night up to its candidates."""
    small = small_warehouse(spark, tmp_path_factory.mktemp("noted"))
    small.write_inputs()
    for step in (validate, candidates):
        step(small.night())
    return small


@pytest.fixture
def begun(prepared: SmallWarehouse, tmp_path: Path) -> SmallWarehouse:
    """A copy of it, for damaging."""
    copy = str(shutil.copytree(prepared.settings.warehouse, tmp_path / "warehouse"))
    return replace(prepared, settings=prepared.settings.model_copy(update={"warehouse": copy}))


def made_anew(small: SmallWarehouse) -> None:
    """Replace the table by another one with the same version."""
    shutil.rmtree(small.warehouse.path(TITLES))
    small.write(TITLES, [title("t1", "Another catalogue"), title("t2"), title("t3")])


def removed(small: SmallWarehouse) -> None:
    shutil.rmtree(small.warehouse.path(TITLES))


def vacuumed(small: SmallWarehouse) -> None:
    small.write(TITLES, [title("t1", "New"), title("t2", "New"), title("t3", "New")])
    DeltaTable(small.warehouse.path(TITLES)).vacuum(0, dry_run=False, enforce_retention_duration=False)


def log_cleaned(small: SmallWarehouse) -> None:
    small.write(TITLES, [title("t1", "New"), title("t2", "New"), title("t3", "New")])
    table = DeltaTable(small.warehouse.path(TITLES))
    table.create_checkpoint()
    (Path(small.warehouse.path(TITLES)) / "_delta_log" / f"{0:020}.json").unlink()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (made_anew, "was dropped and made anew"),
        (removed, "was removed"),
        (vacuumed, r"files of the version that it reads were removed \(VACUUM\)"),
        (log_cleaned, "its version 0 was removed from the log"),
    ],
)
def test_an_input_that_cannot_be_read_as_noted_stops_the_step(
    change: Callable[[SmallWarehouse], None], what: str, begun: SmallWarehouse
) -> None:
    change(begun)
    with pytest.raises(ContractError, match=f"^titles: .*{what} {AGAIN}"):
        contexts(begun.night())


def test_a_deletion_vector_that_was_vacuumed_stops_the_step(begun: SmallWarehouse, spark: SparkSession) -> None:
    table = f"delta.`{begun.warehouse.path(TITLES)}`"
    spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.enableDeletionVectors' = true)")
    spark.sql(f"DELETE FROM {table} WHERE title_id = 't3'")
    for step in (validate, candidates):
        step(begun.night())
    # A VACUUM does this once no later version needs the file.
    (vector,) = Path(begun.warehouse.path(TITLES)).glob("**/deletion_vector_*.bin")
    vector.unlink()
    with pytest.raises(ContractError, match=rf"^titles: files of .* were removed \(VACUUM\) {AGAIN}"):
        contexts(begun.night())


def test_a_night_that_is_begun_again_reads_the_present_inputs(begun: SmallWarehouse) -> None:
    made_anew(begun)
    begun.prepare()
    texts = begun.night().tonight(TITLE_CHOICES).where("title_id = 't1'").collect()
    assert all("Another catalogue" in row["choice"] for row in texts)


def test_rows_added_meanwhile_do_not_stop_the_night(begun: SmallWarehouse) -> None:
    begun.write(TITLES, [title("t1", "Renamed"), title("t2"), title("t3")])
    contexts(begun.night())


def test_a_night_that_noted_no_ids_is_read_by_its_versions(begun: SmallWarehouse, spark: SparkSession) -> None:
    """A night that began before ids were noted."""
    path = begun.warehouse.path(NIGHT_INPUTS)
    noted = spark.read.format("delta").load(path).drop("table_id").localCheckpoint()
    noted.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)
    contexts(begun.night())
