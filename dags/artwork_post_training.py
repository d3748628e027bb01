"""Trains and evaluates a candidate for champion on what users played, every week.

    check → examples → train → score (a task per model) → evaluate → report → judge

`check` opens the registry and refuses a quantization before hours of training. `train` fits a reward model to every
impression, played or not, and distils its policy into the answers (training/distilled.py); the other recipes are
`marquee train binary`, `sft`, `dpo`, `advantage`, `grpo` and `reasoning`.

`ds` is the UTC date of the logical date: impressions up to the end of that day are read. The evaluation uses held-out
users: the nightly scoring code scores their questions with the model that scores now, the base, and the candidate;
`evaluate` compares them on the same logged impressions, and `judge` promotes the candidate only if the interval of its
difference to the champion clears the margin and no slice is shown to lose. A run that refuses its candidate is a
success.

Every task can be run again: training resumes from its last checkpoint, and finished work is skipped. Checkpoints are
written to the setting `checkpoints`; the champion is kept in the registry (`MARQUEE_REGISTRY`). To return to the
previous champion: `marquee models rollback`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronTriggerTimetable

from scheduling.tasks import DEFAULTS, DS, OWN_PROCESS, gpu_task, marquee_command, on_a_gpu, spark_step, spark_task
from schemas.settings import settings

BASE = settings().model
MADE = f"{settings().checkpoints}/{DS}"
CANDIDATE = f"{MADE}/distilled"

with DAG(
    "artwork_post_training",
    description="Post-trains a model on what users played, evaluates it, and promotes it if it is better",
    doc_md=__doc__,
    # Monday morning, after the night's run, for the same Sunday: an interval of a week would begin last Monday.
    schedule=CronTriggerTimetable("0 6 * * 1", timezone="UTC", interval=timedelta(days=1)),
    start_date=datetime(1995, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["marquee", "post-training"],
    default_args=DEFAULTS,
):
    check = BashOperator(task_id="check", bash_command=marquee_command("models", "check"), **OWN_PROCESS)
    examples = spark_step("examples")
    train = gpu_task("train", marquee_command("train", "distilled", "--ds", DS, "--base", BASE, "--out", CANDIDATE))
    score = BashOperator.partial(task_id="score", **on_a_gpu()).expand(
        bash_command=[
            marquee_command("score-held-out", "--ds", DS, *model)
            for model in (["--champion"], ["--model", BASE], ["--model", CANDIDATE])
        ]
    )
    evaluate = spark_task("evaluate", ["evaluate", "--ds", DS, "--candidate", CANDIDATE, "--model", BASE])
    report = spark_task("report", ["report", "--ds", DS, "--candidate", CANDIDATE, "--out", f"{CANDIDATE}/report.html"])
    judge = BashOperator(task_id="judge", bash_command=marquee_command("judge", CANDIDATE, "--ds", DS), **OWN_PROCESS)

    check >> examples >> train >> score >> evaluate >> report >> judge
