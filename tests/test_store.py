"""Tables with features that some readers lack are read anyway, or the error names the feature."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from delta.tables import DeltaTable as SparkTable
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType
from pyspark.sql import SparkSession

from schemas.contract import ContractError, Table
from schemas.store import (
    arrow_dataset,
    buckets_of,
    create,
    location,
    open_table,
    replace_rows,
    rows,
    stored_batches,
)
from schemas.tables import (
    ARTWORK_SELECTIONS,
    ARTWORKS,
    BUCKETS_PROPERTY,
    FORMAT_PROPERTY,
    NIGHT_MODELS,
    NIGHT_STEPS,
    POST_TRAINING_EXAMPLES,
    USER_CONTEXTS,
)
from tests.inference_data import DS, append
from tests.night_data import artwork, nullable
from training.data import Source, catalogue_themes

READ = {
    "deletion vectors": {"delta.enableDeletionVectors": "true"},
    "column mapping": {"delta.columnMapping.mode": "name"},
    "v2 checkpoints": {"delta.checkpointPolicy": "v2", "delta.checkpointInterval": "1"},
    "row tracking": {"delta.enableRowTracking": "true"},
}
NAMED = {
    "typeWidening": {"delta.enableTypeWidening": "true"},
    "vacuumProtocolCheck": {"delta.feature.vacuumProtocolCheck": "supported"},
}


def artworks_with(spark: SparkSession, warehouse: Path, properties: dict[str, str]) -> None:
    """Two artworks, of three written, in a table with `properties`."""
    path = location(str(warehouse), ARTWORKS)
    given = [(*artwork(each, "t")[:3], ["drama", each], *artwork(each, "t")[4:]) for each in ("a1", "a2", "a3")]
    frame = spark.createDataFrame(given, nullable(ARTWORKS)).coalesce(1)
    frame.write.format("delta").options(**properties).save(path)
    SparkTable.forPath(spark, path).delete("artwork_id = 'a3'")


def source_of(warehouse: Path, table: Table) -> Source:
    opened = open_table(str(warehouse), table)
    noted = {table.name: int(opened.version())}, {table.name: str(opened.metadata().id)}
    return Source(str(warehouse), date(2026, 1, 14), *noted)


@pytest.mark.parametrize("feature", READ)
def test_an_input_with_a_feature_is_read_by_the_query_engine(spark: SparkSession, tmp_path: Path, feature: str) -> None:
    artworks_with(spark, tmp_path, READ[feature])
    assert catalogue_themes(source_of(tmp_path, ARTWORKS)) == {"a1": ["drama", "a1"], "a2": ["drama", "a2"]}


@pytest.mark.parametrize("feature", NAMED)
def test_a_feature_that_no_reader_has_is_named_with_its_remedy(
    spark: SparkSession, tmp_path: Path, feature: str
) -> None:
    artworks_with(spark, tmp_path, NAMED[feature])
    sentence = (
        rf"^artworks: the table has the feature {feature}, which .* ALTER TABLE delta\.`.*` DROP FEATURE {feature}"
    )
    opened = open_table(str(tmp_path), ARTWORKS)
    with pytest.raises(ContractError, match=sentence):
        rows("SELECT artwork_id FROM artworks", artworks=opened)
    with pytest.raises(ContractError, match=sentence):
        arrow_dataset(opened, ARTWORKS)


@pytest.mark.parametrize(
    ("feature", "name"), [("deletion vectors", "deletionVectors"), ("column mapping", "columnMapping")]
)
def test_pyarrow_refuses_what_it_would_read_wrong(spark: SparkSession, tmp_path: Path, feature: str, name: str) -> None:
    """With column mapping it would silently read nulls in every row."""
    artworks_with(spark, tmp_path, READ[feature])
    with pytest.raises(ContractError, match=f"artworks: the table has the feature {name}"):
        arrow_dataset(open_table(str(tmp_path), ARTWORKS), ARTWORKS)


def table_of(warehouse: Path, rows_of: list[dict[str, Any]]) -> None:
    batch = pa.RecordBatch.from_pylist(rows_of, schema=pa.schema([("ds", pa.date32()), ("split", pa.string())]))
    write_deltalake(location(str(warehouse), POST_TRAINING_EXAMPLES), batch, mode="overwrite")


def test_a_training_run_reads_the_table_that_it_began_with_or_stops(tmp_path: Path) -> None:
    table_of(tmp_path, [{"ds": date(2026, 1, 14), "split": "training"}])
    source = source_of(tmp_path, POST_TRAINING_EXAMPLES)
    assert len(list(source.training(["split"]))) == 1
    shutil.rmtree(location(str(tmp_path), POST_TRAINING_EXAMPLES))
    table_of(tmp_path, [])
    with pytest.raises(ContractError, match="dropped and made anew since this run began"):
        list(source.training(["split"]))


def test_a_missing_table_or_version_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=f"artworks: there is no Delta table at {tmp_path}/artworks; has a night"):
        open_table(str(tmp_path), ARTWORKS)
    table_of(tmp_path, [])
    with pytest.raises(ContractError, match=r"post_training_examples: .* cannot be read at version 7"):
        open_table(str(tmp_path), POST_TRAINING_EXAMPLES, version=7)


@pytest.mark.parametrize("kept", [None, "", "0", "many"])
def test_a_warehouse_that_lost_its_number_of_buckets_is_one_sentence(tmp_path: Path, kept: str | None) -> None:
    """A table that was dropped and made by hand: none of its buckets is right."""
    properties = {} if kept is None else {BUCKETS_PROPERTY: kept}
    create(str(tmp_path), ARTWORK_SELECTIONS, **properties)
    with pytest.raises(
        ContractError, match=rf"the table property marquee\.buckets of .* is {kept or 'missing'}, expected"
    ):
        buckets_of(open_table(str(tmp_path), ARTWORK_SELECTIONS))


def altered(warehouse: Path, table: Table, columns: list[Field]) -> str:
    """An empty table of `columns`, as another version of Marquee may have made it."""
    path = location(str(warehouse), table)
    kept = [each for each in table.partitioned_by if each in {column.name for column in columns}]
    DeltaTable.create(path, Schema(columns), partition_by=kept)
    return path


def test_a_table_of_an_earlier_version_gets_what_the_contract_gained(tmp_path: Path) -> None:
    old = [
        each
        for each in Schema.from_json(json.dumps(NIGHT_STEPS.delta_json())).fields
        if each.name not in ("counts", "failed")
    ]
    path = altered(tmp_path, NIGHT_STEPS, [*old, Field("theirs", PrimitiveType("string"))])
    row = {"ds": DS, "step": "publish", "seconds": 1.0}
    write_deltalake(path, pa.Table.from_pylist([{**row, "theirs": "x"}]), mode="append")
    assert create(str(tmp_path), NIGHT_STEPS) == ["theirs"]
    replace_rows(str(tmp_path), NIGHT_STEPS, [{**row, "step": "audit", "counts": [("pairs", 3)]}], ds=DS, step="audit")
    found = rows("SELECT step, counts, theirs FROM steps ORDER BY step", steps=open_table(str(tmp_path), NIGHT_STEPS))
    assert found == [
        {"step": "audit", "counts": [("pairs", 3)], "theirs": None},
        {"step": "publish", "counts": None, "theirs": "x"},
    ]
    version = open_table(str(tmp_path), NIGHT_STEPS).version()
    assert create(str(tmp_path), NIGHT_STEPS) == ["theirs"]
    assert open_table(str(tmp_path), NIGHT_STEPS).version() == version


def test_a_table_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    create(str(tmp_path), NIGHT_STEPS)
    made = open_table(str(tmp_path), NIGHT_STEPS)
    made.alter.set_table_properties({FORMAT_PROPERTY: "2"}, raise_if_not_exists=False)
    with pytest.raises(ContractError, match=r"night_steps: a newer version of Marquee has used .* writes 1\); use"):
        create(str(tmp_path), NIGHT_STEPS)


def test_a_table_that_is_not_the_contracts_is_one_sentence(tmp_path: Path) -> None:
    path = altered(tmp_path, NIGHT_MODELS, [Field("ds", PrimitiveType("string"))])
    with pytest.raises(ContractError) as refused:
        create(str(tmp_path), NIGHT_MODELS)
    assert str(refused.value) == (
        "night_models: column ds is string, the contract says date (docs/tables.md). Nothing writes "
        f"{path} but Marquee: move it away or restore an earlier version of it"
    )


def test_a_partition_is_read_in_stored_order_and_in_parts(tmp_path: Path) -> None:
    users, characters = [f"u{number}" for number in range(20_000)], 1000
    given = [
        {"ds": DS, "bucket": 3, "user_id": user_id, "context": user_id.ljust(characters), "pairs": []}
        for user_id in users
    ]
    create(str(tmp_path), USER_CONTEXTS)
    append(tmp_path, USER_CONTEXTS, given)
    before, most, read = pa.total_allocated_bytes(), 0, []
    opened = open_table(str(tmp_path), USER_CONTEXTS)
    for batch in stored_batches(opened, USER_CONTEXTS, ["bucket", "context", "user_id"], ds=DS, bucket=3):
        most = max(most, pa.total_allocated_bytes() - before)
        assert batch.schema.names == ["bucket", "context", "user_id"]
        assert set(batch["bucket"].to_pylist()) == {3}
        read += batch["user_id"].to_pylist()
    assert read == users
    assert most < len(users) * characters / 4
