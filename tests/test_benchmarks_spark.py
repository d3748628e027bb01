"""What the benchmarks of Spark's steps count, and that both sides of a comparison do the same work."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.lookups import make_selections
from benchmarks.merges import share_row
from benchmarks.prompts import compare
from benchmarks.spark_service import LivingService, night_row
from examples.simulated import LAST_DAY
from schemas.tables import ARTWORK_SELECTIONS, TITLE_CANDIDATES, VIEWING_HISTORY
from tests.night_data import day, small_warehouse, viewing


def test_both_sides_of_prompt_building_hold_the_same_prompts(spark: SparkSession, tmp_path: Path) -> None:
    rows = compare(LivingService.make(spark, tmp_path / "w", 10, 30).night(0, 0), 1)
    assert [row["side"] for row in rows] == ["Marquee", "flat join"]
    assert rows[0]["prompts"] == rows[1]["prompts"]
    assert all(float(str(row["MB shuffled"])) > 0 for row in rows)


def test_a_day_of_the_living_service_adds_wants_and_viewings(spark: SparkSession, tmp_path: Path) -> None:
    service = LivingService.make(spark, tmp_path / "w", 10, 30)
    ds = LAST_DAY + timedelta(days=1)
    assert service.night(1, 1.0).ds == ds
    wanted = service.warehouse.read(TITLE_CANDIDATES)
    assert wanted.select("user_id", "title_id").distinct().count() == 10 * 20
    watched = service.warehouse.read(VIEWING_HISTORY).where(F.col("watch_date") == F.lit(ds))
    assert watched.where(F.to_date("watched_at") == F.lit(ds)).count() == 10 + 1


def test_what_truly_changed_is_counted_apart_from_what_was_done(spark: SparkSession, tmp_path: Path) -> None:
    # Without exploration no epoch's end draws another artwork.
    small = small_warehouse(spark, tmp_path, epsilon=0.0)
    small.history += [viewing("u1", "t3", day(1)), viewing("nobody", "t3", day(1))]
    small.write_inputs()
    small.run()
    version = small.warehouse.version(ARTWORK_SELECTIONS)
    row = night_row("a night", small.run(day(1), favourite="a12"), version)
    # No model is asked about u1's third title, which has one artwork.
    assert {name: row[name] for name in ("wanted", "changed", "asked", "due")} == {
        "wanted": 9,
        "changed": 2,
        "asked": 2,
        "due": 2,
    }
    assert int(str(row["rewritten"])) >= 2


def test_a_merge_leaves_the_table_as_it_was(spark: SparkSession, tmp_path: Path) -> None:
    make_selections(tmp_path, 1000)
    rows = [share_row(spark, tmp_path, 1.0, 1) for _ in range(2)]
    assert [row["rows changed"] for row in rows] == [1000, 1000]
    assert rows[0]["MB written"] == rows[1]["MB written"]
