"""Keeps the tables of the warehouse small and quick to read, every week.

OPTIMIZE folds small files and deletion vectors together; VACUUM removes the files of versions older than the setting
`retention_days`. A night that noted its inputs before that may no longer find them: finish a backfill within those
days, or raise the setting.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from scheduling.tasks import DEFAULTS, spark_task

with DAG(
    "artwork_maintenance",
    description="OPTIMIZE and VACUUM of the warehouse's tables",
    doc_md=__doc__,
    # Sunday noon, far from the night's run, so that OPTIMIZE and MERGE do not meet.
    schedule=CronTriggerTimetable("0 12 * * 0", timezone="UTC"),
    start_date=datetime(1995, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["marquee", "maintenance"],
    default_args=DEFAULTS,
):
    # In the pool of `publish`: it rewrites what that merges into.
    spark_task("maintain", ["step", "maintain"], pool="publish", timeout=timedelta(hours=6))
