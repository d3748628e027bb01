"""Chooses, every night, the artwork that each user should see for each title.

    validate → candidates → contexts → score (one task per shard) → audit → publish

A run makes the night `ds`, the UTC date of its logical date, whether it was scheduled, backfilled, tested or triggered;
a run without a logical date makes yesterday's. It reads viewing history up to the end of that day.

Every task can be run again: finished work is skipped, or redone with the same result. Serving sees nothing before
`publish`, which is one commit. To make five past nights (a date alone means midnight, before that night's run at
02:00):

    airflow backfill create --dag-id artwork_nightly --from-date 2026-01-05 --to-date 2026-01-09T23:59

`--reprocess-behavior completed` also repeats nights that have a run.

Pools: `gpu` (one slot per GPU) and `publish` (one slot: runs publish one after the other). Settings: `MARQUEE_…` in the
environment, see schemas/settings.py. Connection: `spark_default`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable

from scheduling.tasks import DEFAULTS, DS, deadline_of_a_night, marquee_command, on_a_gpu, spark_step
from schemas.settings import settings
from schemas.tables import SERVED

with DAG(
    "artwork_nightly",
    description="Chooses the artwork that each user should see for each title",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    # Before any history, so that it never cuts a backfill short.
    start_date=datetime(1995, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=3,
    tags=["marquee", "nightly"],
    default_args=DEFAULTS,
    deadline=deadline_of_a_night(),
):
    validate = spark_step("validate")
    candidates = spark_step("candidates")
    contexts = spark_step("contexts")
    score = BashOperator.partial(task_id="score", **on_a_gpu()).expand(
        bash_command=[
            marquee_command("score", "--ds", DS, "--shard", str(shard), "--shards", str(settings().shards))
            for shard in range(settings().shards)
        ]
    )
    audit = spark_step("audit")
    publish = spark_step(
        "publish",
        pool="publish",
        # Not the table's path: another warehouse would give the same names new URIs, and Airflow refuses such assets.
        outlets=[Asset(name=table.name, uri=f"marquee://tables/{table.name}") for table in SERVED],
    )

    validate >> candidates >> contexts >> score >> audit >> publish
