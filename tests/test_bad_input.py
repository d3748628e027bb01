"""docs/bad-input.md is up to date."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from tests.bad_input import PAGE, outcomes, page


def test_the_page_of_bad_input_is_up_to_date(spark: SparkSession, tmp_path: Path) -> None:
    assert PAGE.read_text() == page(outcomes(spark, tmp_path))
