"""Common parts of the DAGs' tasks: their date, how they run, and when a retry is useless."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, RetryDecision, RetryPolicy
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from schemas.exit_codes import REFUSED
from schemas.jars import jar_options
from schemas.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

ROOT = Path(__file__).resolve().parent.parent
# Never the data interval: a manual run's interval is not that of the scheduled run with the same logical date.
DS = "{{ (dag_run.logical_date or dag_run.run_after - macros.timedelta(days=1)).strftime('%Y-%m-%d') }}"


# A shell's exit codes for a command that may not be run, and for one that is not found.
_NOT_STARTED = (126, 127)


class RetryUnlessRefused(RetryPolicy):
    """Fail at once when a step refused its input or cannot be started: a retry would only delay the message."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        # Both operators report the exit status only in their message: "Error code is: 2.", "exit code 2."
        if re.search(rf"code(?: is:)? {REFUSED}\b", str(exception)):
            return RetryDecision.fail("the step refused its arguments or its input; its last line says why")
        if re.search(rf"exit code (?:{'|'.join(map(str, _NOT_STARTED))})\b", str(exception)):
            return RetryDecision.fail("the shell found no such command, or may not run it (MARQUEE_SCORING_PYTHON)")
        return RetryDecision.default()


DEFAULTS = {
    "owner": "marquee",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_policy": RetryUnlessRefused(),
}


def deadline_of_a_night() -> DeadlineAlert | None:
    """The alert for a nightly run that is late, if the settings name whom to call.

    Its time runs from when the run was queued: by its logical date, every backfill would be late when it begins.
    """
    config = settings()
    if config.late_callback is None:
        return None
    return DeadlineAlert(
        name="a late night",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=config.late_after_hours),
        callback=AsyncCallback(config.late_callback),
    )


def spark_task(
    task_id: str,
    arguments: Sequence[str],
    pool: str = "default_pool",
    outlets: Sequence[Asset] = (),
    timeout: timedelta = timedelta(hours=3),
) -> SparkSubmitOperator | BashOperator:
    """Run `marquee` with `arguments` by spark-submit and the connection spark_default or, if the steps on this machine
    share a driver, in a process that attaches to it.
    """
    if settings().spark_driver:
        return BashOperator(
            task_id=task_id,
            bash_command=marquee_command(*arguments, python=sys.executable),
            pool=pool,
            outlets=outlets,
            cwd=OWN_PROCESS["cwd"],
            skip_on_exit_code=OWN_PROCESS["skip_on_exit_code"],
            execution_timeout=timeout,
        )
    return SparkSubmitOperator(
        task_id=task_id,
        name=f"marquee {task_id} {DS}",
        application=_verbatim(str(ROOT / "marquee/__main__.py")),
        application_args=[DS.join(map(_verbatim, word.split(DS))) for word in arguments],
        # Spark writes a line per task at INFO, and each becomes a line of the Airflow log.
        conf={**jar_options(settings()), "spark.log.level": "WARN", "spark.ui.showConsoleProgress": "false"},
        execution_timeout=timeout,
        pool=pool,
        outlets=outlets,
    )


def spark_step(
    step: str, pool: str = "default_pool", outlets: Sequence[Asset] = ()
) -> SparkSubmitOperator | BashOperator:
    """A task that runs one step of spark_jobs."""
    return spark_task(step, ["step", step, "--ds", DS], pool, outlets)


def marquee_command(*arguments: str, python: str | None = None) -> str:
    """The shell command of `marquee` with `arguments`, in `python` or by default the Python that has the engine."""
    # exec, so that a signal to the task reaches the engine and not a shell around it.
    command = " ".join(map(_quoted, ["exec", python or settings().scoring_python, "-m", "marquee", *arguments]))
    # Airflow takes a command that ends in .sh for the name of a script.
    return f"{command} " if command.endswith((".sh", ".bash")) else command


def _quoted(word: str) -> str:
    """`word` quoted for a shell, except DS: Airflow renders it first, and quotes would end the strings in it."""
    return DS.join(_verbatim(shlex.quote(part)) if part else part for part in word.split(DS))


def _verbatim(text: str) -> str:
    """`text` protected from Airflow's templating, in case it contains braces."""
    return f"{{% raw %}}{text}{{% endraw %}}" if "{" in text else text


class OwnProcess(TypedDict):
    """Arguments of a BashOperator that runs one process of this repository."""

    cwd: str
    skip_on_exit_code: None
    execution_timeout: timedelta


# By default exit code 99 marks a task as skipped, and its successors would run without it.
OWN_PROCESS = OwnProcess(cwd=str(ROOT), skip_on_exit_code=None, execution_timeout=timedelta(hours=8))


def on_a_gpu() -> dict[str, Any]:
    """Arguments of a BashOperator that scores or trains: its pool and, if the setting `scoring_image` is set, a pod
    with one GPU and that image, which is what Airflow's KubernetesExecutor then starts.
    """
    image = settings().scoring_image
    if image is None:
        return {"pool": "gpu", **OWN_PROCESS}
    # Comes with that executor.
    from kubernetes.client import models as k8s

    # `base` is the container in which the executor runs the task; everything else comes from its pod template.
    container = k8s.V1Container(
        name="base", image=image, resources=k8s.V1ResourceRequirements(limits={"nvidia.com/gpu": "1"})
    )
    pod = k8s.V1Pod(spec=k8s.V1PodSpec(containers=[container]))
    return {"pool": "gpu", "executor_config": {"pod_override": pod}, **OWN_PROCESS}


def gpu_task(task_id: str, command: str) -> BashOperator:
    return BashOperator(task_id=task_id, bash_command=command, **on_a_gpu())
