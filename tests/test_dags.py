"""Every DAG loads, has the expected shape, and works on the expected night."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, RetryAction
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from jinja2 import Environment

from scheduling.tasks import DS, marquee_command
from schemas.exit_codes import REFUSED
from schemas.jars import jar_options
from schemas.settings import settings

DAGS = Path(__file__).resolve().parent.parent / "dags"
SPARK_STEPS = ["validate", "candidates", "contexts", "audit", "publish"]


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture
def nightly(dags: dict[str, DAG]) -> DAG:
    return dags["artwork_nightly"]


def test_tasks_that_need_a_gpu_are_pods_with_one_where_an_image_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Kubernetes client accepts the pod, and Airflow stores and reads it back with the DAG."""
    from kubernetes.client import ApiClient

    monkeypatch.setenv("MARQUEE_SCORING_IMAGE", "registry/marquee-scoring:1")
    settings.cache_clear()
    try:
        bag = DagBag(dag_folder=str(DAGS))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert bag.import_errors == {}
    container = {
        "name": "base",
        "image": "registry/marquee-scoring:1",
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    for name in ("artwork_nightly", "artwork_post_training"):
        stored = DagSerialization.from_dict(DagSerialization.to_dict(bag.dags[name]))
        for task in bag.dags[name].tasks:
            found = [
                ApiClient().sanitize_for_serialization(_executor_config(each)["pod_override"])
                for each in (task, stored.get_task(task.task_id))
                if _executor_config(each)
            ]
            assert found == ([{"spec": {"containers": [container]}}] * 2 if task.pool == "gpu" else [])


def _executor_config(task: Any) -> Any:
    return task.partial_kwargs.get("executor_config") if task.is_mapped else task.executor_config


def test_the_dags_are_the_expected_ones(dags: dict[str, DAG]) -> None:
    assert sorted(dags) == ["artwork_maintenance", "artwork_nightly", "artwork_post_training"]


@pytest.mark.parametrize("name", ["artwork_maintenance", "artwork_nightly", "artwork_post_training"])
def test_every_dag_has_an_owner_and_a_description(name: str, dags: dict[str, DAG]) -> None:
    dag = dags[name]
    assert dag.description
    assert dag.doc_md
    assert "marquee" in dag.tags
    assert not dag.catchup
    for task in dag.tasks:
        assert task.owner == "marquee"
        assert task.retries == 2
        assert task.execution_timeout is not None


def test_the_steps_follow_one_another(nightly: DAG) -> None:
    downstream = {task.task_id: sorted(task.downstream_task_ids) for task in nightly.tasks}
    steps = ["validate", "candidates", "contexts", "score", "audit", "publish"]
    assert downstream == dict(zip(steps, [[step] for step in steps[1:]] + [[]], strict=True))


def test_no_task_can_turn_a_failed_run_green(nightly: DAG) -> None:
    assert {task.trigger_rule for task in nightly.tasks} == {"all_success"}


def test_pools_guard_the_gpus_and_the_merge(nightly: DAG) -> None:
    pools = {task.task_id: task.pool for task in nightly.tasks}
    assert pools["score"] == "gpu"
    assert pools["publish"] == "publish"
    assert {pools[step] for step in SPARK_STEPS[:-1]} == {"default_pool"}


def test_one_scoring_task_per_shard_each_a_process_of_its_own(nightly: DAG) -> None:
    score: Any = nightly.get_task("score")
    commands = score.expand_input.value["bash_command"]
    assert len(commands) == settings().shards
    for shard, command in enumerate(commands):
        assert command.startswith(f"exec {settings().scoring_python} -m marquee score ")
        assert command.endswith(f"--shard {shard} --shards {settings().shards}")
    assert score.partial_kwargs["skip_on_exit_code"] is None


def test_steps_that_share_a_driver_keep_pools_outlets_and_retries(
    nightly: DAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUEE_SPARK_DRIVER", "1:secret")
    settings.cache_clear()
    try:
        shared = DagBag(dag_folder=str(DAGS)).dags["artwork_nightly"]
    finally:
        settings.cache_clear()
    for step in SPARK_STEPS:
        here, there = (dag.get_task(step) for dag in (shared, nightly))
        command: Any = here
        assert command.bash_command.startswith(f"exec {sys.executable} -m marquee step {step} --ds ")
        assert "secret" not in command.bash_command
        assert (here.pool, here.outlets, here.execution_timeout) == (there.pool, there.outlets, there.execution_timeout)
        assert (here.retries, type(here.retry_policy)) == (there.retries, type(there.retry_policy))


def test_spark_steps_run_the_repositorys_application(nightly: DAG) -> None:
    for step in SPARK_STEPS:
        task: Any = nightly.get_task(step)
        assert Path(task.application).is_file()
        assert task.application_args[:3] == ["step", step, "--ds"]
        assert task.conf.items() >= jar_options(settings()).items()


def test_downstream_dags_can_be_scheduled_on_what_is_published(nightly: DAG) -> None:
    publish: Any = nightly.get_task("publish")
    assert [asset.name for asset in publish.outlets] == [
        "artwork_selections",
        "artwork_selection_log",
        "title_defaults",
        "catalogue_names",
    ]
    # The same in every warehouse, or a second one in the same Airflow could not publish.
    assert publish.outlets[0].uri == "marquee://tables/artwork_selections"


def night_of(nightly: DAG, **dag_run: datetime | None) -> str:
    task: Any = nightly.get_task("validate")
    context: Any = {"dag_run": SimpleNamespace(**dag_run), "macros": SimpleNamespace(timedelta=timedelta)}
    return str(task.render_template(task.application_args, context)[-1])


def test_the_night_is_the_date_of_the_logical_date(nightly: DAG) -> None:
    logical, later = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 2, 1, 12, tzinfo=UTC)
    assert night_of(nightly, logical_date=logical, run_after=later) == "2026-01-05"
    scheduled = datetime(2026, 1, 5, 2, tzinfo=UTC)
    assert night_of(nightly, logical_date=scheduled, run_after=scheduled + timedelta(days=1)) == "2026-01-05"


@pytest.mark.parametrize("name", ["artwork_nightly", "artwork_post_training"])
def test_a_scheduled_run_is_of_the_day_before_it(name: str, dags: dict[str, DAG]) -> None:
    """A cron's own interval ends when the run begins; one of a week would leave a week of impressions unread."""
    timetable = coerce_to_core_timetable(dags[name].timetable)
    since = TimeRestriction(earliest=pendulum.datetime(2026, 1, 7), latest=None, catchup=True)
    run = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=since)
    assert run is not None
    assert run.logical_date is not None
    assert run.logical_date.date() == run.run_after.date() - timedelta(days=1)


def test_a_run_without_a_logical_date_makes_yesterday(nightly: DAG) -> None:
    assert night_of(nightly, logical_date=None, run_after=datetime(2026, 3, 1, 0, 1, tzinfo=UTC)) == "2026-02-28"


def test_a_path_with_spaces_or_quotes_stays_one_word_of_its_command() -> None:
    command = marquee_command(
        "train", "sft", "--ds", DS, "--base", "/bases/it's ours", "--out", f"/our models/{DS}/sft"
    )
    words = shlex.split(command.replace(DS, "2026-01-14"))
    assert words[:4] == ["exec", settings().scoring_python, "-m", "marquee"]
    assert words[6:] == ["--ds", "2026-01-14", "--base", "/bases/it's ours", "--out", "/our models/2026-01-14/sft"]


def test_a_path_that_airflow_would_render_or_open_is_taken_as_it_is() -> None:
    command = marquee_command("train", "sft", "--ds", DS, "--out", f"/{{{{ds}}}}/{{%x/{DS}/model.sh")
    rendered = Environment(autoescape=False).from_string(command.replace(DS, "2026-01-14")).render()
    assert shlex.split(rendered)[6:] == ["--ds", "2026-01-14", "--out", "/{{ds}}/{%x/2026-01-14/model.sh"]
    assert not command.endswith(".sh")


def test_every_command_is_given_the_night(nightly: DAG) -> None:
    validate: Any = nightly.get_task("validate")
    template = validate.application_args[-1]
    score: Any = nightly.get_task("score")
    assert all(f"--ds {template} " in command for command in score.expand_input.value["bash_command"])
    for step in SPARK_STEPS:
        task: Any = nightly.get_task(step)
        assert task.application_args[-1] == template


@pytest.mark.parametrize(
    ("message", "action"),
    [
        (f"Cannot execute: spark-submit. Error code is: {REFUSED}.\nLast output", RetryAction.FAIL),
        (f"Bash command failed. The command returned a non-zero exit code {REFUSED}.", RetryAction.FAIL),
        ("Bash command failed. The command returned a non-zero exit code 127.", RetryAction.FAIL),
        ("Cannot execute: spark-submit. Error code is: 1.", RetryAction.DEFAULT),
        (f"Bash command failed. The command returned a non-zero exit code {REFUSED}55.", RetryAction.DEFAULT),
        ("Bash command failed. The command returned a non-zero exit code -9.", RetryAction.DEFAULT),
    ],
)
def test_a_step_that_refuses_its_input_or_cannot_be_started_is_not_retried(
    message: str, action: RetryAction, nightly: DAG
) -> None:
    for name in ("validate", "score"):
        task: Any = nightly.get_task(name)
        policy = task.retry_policy if name == "validate" else task.partial_kwargs["retry_policy"]
        assert policy.evaluate(AirflowException(message), 1, 2).action == action


def test_a_late_night_calls_whom_the_settings_name(nightly: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not nightly.deadline
    monkeypatch.setenv("MARQUEE_LATE_CALLBACK", "our_alerts.page")
    monkeypatch.setenv("MARQUEE_LATE_AFTER_HOURS", "4.5")
    settings.cache_clear()
    try:
        late = DagBag(dag_folder=str(DAGS)).dags["artwork_nightly"]
    finally:
        settings.cache_clear()
    alerts: Any = late.deadline
    assert [(alert.interval, alert.callback.path) for alert in alerts] == [(timedelta(hours=4.5), "our_alerts.page")]


def test_post_training_trains_scores_judges_and_promotes_in_that_order(dags: dict[str, DAG]) -> None:
    tasks: dict[str, Any] = {task.task_id: task for task in dags["artwork_post_training"].tasks}
    steps = ["check", "examples", "train", "score", "evaluate", "report", "judge"]
    downstream = {name: sorted(task.downstream_task_ids) for name, task in tasks.items()}
    assert downstream == dict(zip(steps, [[step] for step in steps[1:]] + [[]], strict=True))
    assert {task.pool for name, task in tasks.items() if name in ("train", "score")} == {"gpu"}
    assert tasks["check"].bash_command.endswith(" models check")
    made = tasks["train"].bash_command.partition("--out ")[2]
    assert f" judge {made} " in tasks["judge"].bash_command
    assert made in tasks["evaluate"].application_args
    assert any(command.endswith(f"--model {made}") for command in tasks["score"].expand_input.value["bash_command"])


def test_maintenance_never_runs_beside_publish(dags: dict[str, DAG]) -> None:
    [maintain] = dags["artwork_maintenance"].tasks
    assert maintain.pool == "publish"
