"""A warehouse after the weekly maintenance."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import deltalake
from pyspark.sql import SparkSession

from schemas.settings import Settings
from schemas.tables import POST_TRAINING_EXAMPLES, TITLE_CHOICES
from spark_jobs.maintain import maintain
from spark_jobs.warehouse import Warehouse
from tests.inference_data import choice_row


def test_small_files_become_one_and_versions_are_kept_for_as_long_as_is_set_now(
    spark: SparkSession, tmp_path: Path
) -> None:
    made = Warehouse(spark, Settings(warehouse=str(tmp_path), retention_days=30))
    made.create_missing((TITLE_CHOICES, POST_TRAINING_EXAMPLES))
    rows = [choice_row(title, 2) for title in ("one", "two", "three")]
    for row in rows:
        made.frame(TITLE_CHOICES, [row]).write.format("delta").mode("append").save(made.path(TITLE_CHOICES))
    before = made.state(TITLE_CHOICES)

    maintain(Warehouse(spark, made.settings.model_copy(update={"retention_days": 8})))
    table = deltalake.DeltaTable(made.path(TITLE_CHOICES))
    assert len(table.file_uris()) == 1
    assert sorted(row["title_id"] for row in made.read(TITLE_CHOICES).collect()) == ["one", "three", "two"]
    for name in (TITLE_CHOICES, POST_TRAINING_EXAMPLES):
        kept = deltalake.DeltaTable(made.path(name)).metadata().configuration
        assert kept["delta.deletedFileRetentionDuration"] == "interval 8 days"
        assert kept["delta.logRetentionDuration"] == "interval 8 days"
    # The files of an hour ago are still readable.
    assert made.read_as_noted(TITLE_CHOICES, before, date(2026, 1, 1)).count() == 3
    after = table.version()
    maintain(Warehouse(spark, made.settings.model_copy(update={"retention_days": 8})))
    history = deltalake.DeltaTable(made.path(TITLE_CHOICES)).history()
    assert not [each for each in history if each["version"] > after and "TBLPROPERTIES" in each["operation"]]
