"""What the benchmarks of Spark's steps count, and that both sides of a comparison do the same work."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.nights import Night, expected_seconds
from benchmarks.prompts import worst
from benchmarks.spark_flat import both_hold, write_flat
from benchmarks.spark_inputs import HEAVY_USER, HEAVY_VIEWINGS, make_inputs, settings_for, viewings
from benchmarks.spark_nights import Counted, LivingService, counted, make_service
from benchmarks.spark_stages import Stage, skew, stage_of
from examples.simulated import LAST_DAY
from schemas.settings import Settings
from schemas.tables import ARTWORK_SELECTIONS, ARTWORKS, TITLE_CANDIDATES, VIEWING_HISTORY
from spark_jobs.contexts import contexts
from spark_jobs.warehouse import Warehouse
from tests.night_data import day, small_warehouse, viewing


def test_skew_is_the_largest_over_the_median() -> None:
    assert skew([1.0, 1.0, 3.0]) == 3
    assert skew([5.0]) == 1
    assert skew([0, 0, 0]) == 1
    assert skew([0, 0, 7]) == float("inf")


def task(milliseconds: int, rows: int, shuffled_in: int, status: str = "SUCCESS") -> dict[str, Any]:
    metrics = {
        "executorRunTime": milliseconds,
        "inputMetrics": {"recordsRead": rows},
        "shuffleReadMetrics": {"recordsRead": shuffled_in},
    }
    return {"status": status, "taskMetrics": metrics}


def test_a_stage_counts_tasks_that_succeeded_and_rows_from_files_and_shuffles() -> None:
    about = {"name": "save at …", "shuffleWriteBytes": 70, "diskBytesSpilled": 5}
    found = stage_of(about, [task(1000, 3, 1), task(4000, 0, 8), task(9000, 9, 9, "FAILED")])
    assert found == Stage("save at …", seconds=[1.0, 4.0], rows=[4, 8], shuffled=70, spilled=5)
    assert found.time_skew == 1.6


def test_stages_of_moments_are_no_evidence_of_skew() -> None:
    assert "too few users" in worst([Stage("a", [0.01, 0.1], [1, 1], 0, 0)])
    assert worst([Stage("a", [1.0, 4.0], [1, 1], 0, 0), Stage("b", [2.0, 2.0], [1, 1], 0, 0)]).endswith("more: 1.60")


def night(changed: int, total: float, scoring: float = 0.0) -> Night:
    found = Counted(100, changed, 0, asked=changed, rewritten=0, feed=0, files_added=0, files_removed=0)
    return Night("a night", found, {"contexts": total - 2 * scoring, "score": 2 * scoring}, scoring)


def test_a_night_is_expected_to_take_what_is_fixed_and_its_share_of_a_full_night() -> None:
    idle, full = night(0, 10.0), night(100, 80.0, scoring=30.0)
    assert expected_seconds(idle, idle, full) == (10, 10)
    assert expected_seconds(full, idle, full) == (40, 80)
    # A start of 30 seconds, and a fifth of the 40 that grow with what changed.
    assert expected_seconds(night(20, 50.0), idle, full) == (40, 48)


def test_the_flat_join_holds_the_prompts_that_marquee_would_ask(spark: SparkSession, tmp_path: Path) -> None:
    made = make_inputs(spark, settings_for(str(tmp_path / "w"), 10), 10, skewed=False)
    contexts(made)
    write_flat(made)
    ours, flat = both_hold(made)
    assert ours == flat
    assert ours[0] == 10 * 20


def test_skewed_inputs_have_one_heavy_user_and_a_title_that_everyone_watched(spark: SparkSession) -> None:
    history = viewings(spark, 10, skewed=True)
    watched = history.where(F.col("user_id") == HEAVY_USER).agg(F.count_distinct("title_id")).collect()[0][0]
    assert watched == HEAVY_VIEWINGS
    assert history.where("title_id = 't0'").select("user_id").distinct().count() == 10


def test_a_day_of_the_living_service_changes_what_it_says(spark: SparkSession, tmp_path: Path) -> None:
    make_service(tmp_path / "w", 10, 30)
    settings = Settings().model_copy(update={"warehouse": str(tmp_path / "w")})
    service = LivingService(Warehouse(spark, settings), 10, 30)
    ds = LAST_DAY + timedelta(days=1)
    service.want(ds)
    wanted = service.warehouse.read(TITLE_CANDIDATES)
    assert wanted.select("user_id", "title_id").distinct().count() == 10 * 20
    service.watch(ds, 1.0)
    watched = service.warehouse.read(VIEWING_HISTORY).where(F.col("watch_date") == F.lit(ds))
    assert watched.where(F.to_date("watched_at") == F.lit(ds)).count() == 10 + 1
    before = service.warehouse.read(ARTWORKS).count()
    title_id = service.replace_artwork(ds)
    of_title = service.warehouse.read(ARTWORKS).where(F.col("title_id") == title_id)
    assert of_title.where(F.col("active_to") == F.lit(LAST_DAY)).count() == 1
    assert of_title.where(F.col("active_from") == F.lit(ds)).count() == 1
    assert service.warehouse.read(ARTWORKS).count() == before + 1


def test_what_truly_changed_is_counted_apart_from_what_was_done(spark: SparkSession, tmp_path: Path) -> None:
    # Without exploration no epoch's end draws another artwork.
    small = small_warehouse(spark, tmp_path, epsilon=0.0)
    small.history += [viewing("u1", "t3", day(1)), viewing("nobody", "t3", day(1))]
    small.write_inputs()
    small.run()
    version = small.warehouse.version(ARTWORK_SELECTIONS)
    later = small.run(day(1), favourite="a12")
    found = counted(later, version, None)
    # u1's third title has one artwork: nothing is asked of it.
    assert (found.wanted, found.changed, found.redrawn, found.asked, found.feed) == (9, 2, 0, 2, 2)
    assert found.rewritten >= 2
    of_title = counted(later, version, "t1")
    assert of_title.changed == 2 + 2
