"""Chooses, every night, the artwork that each user should see for each title.

    validate → candidates → contexts → score (one task per shard) → audit → publish

The night that a run makes is `ds`, the UTC date of its logical date, whether it was scheduled, backfilled, tested or
triggered; a run without a logical date makes yesterday. It reads viewing history up to the end of that day.

Every task can be run again: what is done is skipped or made again equal. Serving sees nothing before `publish`,
which is one commit. To make five past nights (a date alone is midnight, before that night's run of 02:00):

    airflow backfill create --dag-id artwork_nightly --from-date 2026-01-05 --to-date 2026-01-09T23:59

`--reprocess-behavior completed` makes nights again that have a run.

Pools: `gpu` (one slot per GPU) and `publish` (one slot: runs publish one after the other). Settings: `MARQUEE_…` in the
environment, see schemas/settings.py. Connection: `spark_default`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, RetryDecision, RetryPolicy

from schemas.exit_codes import REFUSED
from schemas.settings import settings
from schemas.tables import SERVED

if TYPE_CHECKING:
    from airflow.sdk import Context

ROOT = Path(__file__).resolve().parent.parent
# Never the data interval: a manual run's interval is not that of the scheduled run with the same logical date.
DS = "{{ (dag_run.logical_date or dag_run.run_after - macros.timedelta(days=1)).strftime('%Y-%m-%d') }}"


class RetryUnlessRefused(RetryPolicy):
    """A step that refused its input would refuse it again: fail at once, so that its message is told at once."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        # Both operators tell the exit status in their message only: "Error code is: 2.", "exit code 2."
        if re.search(rf"code(?: is:)? {REFUSED}\b", str(exception)):
            return RetryDecision.fail("the step refused its arguments or its input; its last line says why")
        return RetryDecision.default()


def spark_step(step: str, pool: str = "default_pool", outlets: Sequence[Asset] = ()) -> SparkSubmitOperator:
    return SparkSubmitOperator(
        task_id=step,
        name=f"marquee {step} {DS}",
        application=str(ROOT / "spark_jobs" / "__main__.py"),
        application_args=[step, "--ds", DS],
        packages=settings().spark_packages,
        # Spark writes a line per task at INFO, and each becomes a line of the Airflow log.
        conf={"spark.log.level": "WARN", "spark.ui.showConsoleProgress": "false"},
        execution_timeout=timedelta(hours=3),
        pool=pool,
        outlets=outlets,
    )


def score_command(shard: int) -> str:
    # exec: a signal to the task reaches the engine, not a shell in front of it.
    python = shlex.quote(settings().scoring_python)
    return f"exec {python} -m inference.score --ds {DS} --shard {shard} --shards {settings().shards}"


with DAG(
    "artwork_nightly",
    description="Chooses the artwork that each user should see for each title",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    # Before any history, so that no backfill is cut short by it.
    start_date=datetime(1995, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=3,
    tags=["marquee", "nightly"],
    default_args={
        "owner": "marquee",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "retry_policy": RetryUnlessRefused(),
    },
):
    validate = spark_step("validate")
    candidates = spark_step("candidates")
    contexts = spark_step("contexts")
    score = BashOperator.partial(
        task_id="score",
        pool="gpu",
        cwd=str(ROOT),
        # 99 would mark the task skipped, and the night published without its scores.
        skip_on_exit_code=None,
        execution_timeout=timedelta(hours=8),
    ).expand(bash_command=[score_command(shard) for shard in range(settings().shards)])
    audit = spark_step("audit")
    publish = spark_step(
        "publish",
        pool="publish",
        # Not the path: in another warehouse the same names would have new URIs, and Airflow refuses such assets.
        outlets=[Asset(name=table.name, uri=f"marquee://tables/{table.name}") for table in SERVED],
    )

    validate >> candidates >> contexts >> score >> audit >> publish
