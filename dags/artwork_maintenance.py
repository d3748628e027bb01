"""Compacts the tables of the warehouse every week.

It removes what nights of the last `night_days` do not read of older ones; an older night can't be run again.
OPTIMIZE merges small files and deletion vectors; VACUUM removes the files of versions older than the setting
`retention_days`. A night that noted its inputs before then may no longer find them: finish a backfill within that time,
or raise the setting.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from scheduling.tasks import DEFAULTS, spark_task

with DAG(
    "artwork_maintenance",
    description="OPTIMIZE and VACUUM of the warehouse's tables",
    doc_md=__doc__,
    # Sunday noon, far from the night's run, so that OPTIMIZE and MERGE do not conflict.
    schedule=CronTriggerTimetable("0 12 * * 0", timezone="UTC"),
    start_date=datetime(1995, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["marquee", "maintenance"],
    default_args=DEFAULTS,
):
    # In the pool of `publish`, because it rewrites the table that `publish` merges into.
    spark_task("maintain", ["step", "maintain"], pool="publish", timeout=timedelta(hours=6))
