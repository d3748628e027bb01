"""Airflow on this machine: the output of a run, and the message if it fails. `airflow` is a script here."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from datetime import date
from pathlib import Path

import pytest

from scheduling import local
from schemas.contract import ContractError
from schemas.events import EVENTS
from schemas.exit_codes import REFUSED, RunError

DS = date(2026, 1, 14)


def install(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace Airflow's command by `script`, with a home in `folder`."""
    command = folder / "bin" / "airflow"
    command.parent.mkdir()
    command.write_text(f"#!/usr/bin/env bash\n{script}\n")
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    monkeypatch.setattr(
        local, "environment", lambda: {**os.environ, "PATH": path, "AIRFLOW_HOME": str(folder / "home")}
    )
    monkeypatch.setenv("PATH", path)


def event(**facts: object) -> str:
    return f"echo '{json.dumps(facts)}' >> \"${EVENTS}\"\n"


RUN = (
    event(event="started", command="marquee step validate")
    + event(event="report", step="validate", message="2.0 s, titles [b]3[/b]")
    + event(event="started", command="marquee score")
    + event(event="progress", message="scored 10 of 20 pairs")
)


def run_of(end: str) -> str:
    """A script whose `airflow dags test` emits these events; every other Airflow command succeeds."""
    return f"[ \"$1 $2\" = 'dags test' ] || exit 0\necho \"$@\"; echo 'in Airflow log'\n{RUN}{end}"


def test_a_run_shows_what_its_steps_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, run_of("exit 0"), monkeypatch)
    local.run_dag("artwork_nightly", DS, local.airflow_home())
    shown = [" ".join(line.split()[-5:]) for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert shown[-5:-1] == [shown[-5], "2.0 s, titles [b]3[/b]", shown[-3], "scored 10 of 20 pairs"]
    assert (shown[-5].split()[-1], shown[-3].split()[-1]) == ("validate", "score")
    kept = (tmp_path / "home/logs/artwork_nightly-2026-01-14.log").read_text()
    assert kept == "dags test artwork_nightly 2026-01-14\nin Airflow log\n"


@pytest.mark.parametrize(("status", "error"), [(1, RunError), (REFUSED, ContractError)])
def test_a_run_that_fails_shows_the_steps_own_sentence_and_ends_as_it_did(
    status: int,
    error: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = event(event="failed", command="marquee score", message="titles: there is no Delta table", status=status)
    install(tmp_path, run_of(f"{failed}exit 1"), monkeypatch)
    with pytest.raises(error, match=r"artwork_nightly of 2026-01-14 failed; its log is .*01-14\.log\.$"):
        local.run_dag("artwork_nightly", DS, local.airflow_home())
    assert "score failed\n          titles: there is no Delta table\n" in capsys.readouterr().out


def test_a_run_that_ends_without_a_sentence_shows_the_logs_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, run_of("echo 'Killed'; exit 1"), monkeypatch)
    with pytest.raises(RunError, match="Its last line: Killed"):
        local.run_dag("artwork_nightly", DS, local.airflow_home())


def test_the_same_dag_and_day_run_once_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, run_of("exit 0"), monkeypatch)
    env = local.airflow_home()
    log = local.log_of(env, f"artwork_nightly-{DS}")
    with log.open("a") as first:
        first.write("of the first run\n")
        first.flush()
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="artwork_nightly of 2026-01-14 is running already"):
            local.run_dag("artwork_nightly", DS, env)
        assert log.read_text() == "of the first run\n"
        local.run_dag("artwork_nightly", date(2026, 1, 13), env)
    local.run_dag("artwork_nightly", DS, env)


def test_an_airflow_that_ignores_the_request_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_SECONDS_TO_END", 0.5)
    deaf = subprocess.Popen(["bash", "-c", "trap '' TERM; echo ready; sleep 60 & wait"], stdout=subprocess.PIPE)
    assert deaf.stdout is not None
    deaf.stdout.readline()
    local.end(deaf)
    assert deaf.returncode == -9


def test_airflows_home_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, 'echo "$@" >> "$AIRFLOW_HOME/commands"', monkeypatch)
    for _ in range(2):
        local.airflow_home()
    commands = (tmp_path / "home/commands").read_text().splitlines()
    assert [line.split()[:3] for line in commands] == [
        ["db", "migrate"],
        ["pools", "set", "gpu"],
        ["pools", "set", "publish"],
    ]


def test_a_home_that_cannot_be_made_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "[ $1 != pools ]", monkeypatch)
    with pytest.raises(RunError, match=r"`airflow pools set .* failed; its output is in .*setup\.log"):
        local.airflow_home()
    assert not (tmp_path / "home/.ready").exists()


def test_a_backfill_includes_its_last_night_and_waits_for_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
        [ "$1" = backfill ] || exit 0
        echo "$@" >> "$AIRFLOW_HOME/commands"
        [ $(wc -l < "$AIRFLOW_HOME/commands") -gt 1 ] || { echo 'database is locked'; exit 1; }
    """
    install(tmp_path, script, monkeypatch)
    monkeypatch.setattr("scheduling.local.time.sleep", lambda _: None)
    local.backfill(date(2026, 1, 5), date(2026, 1, 9), again=True, at_once=2)
    first, second = (tmp_path / "home/commands").read_text().splitlines()
    assert first == second
    assert "--from-date 2026-01-05 --to-date 2026-01-09T23:59:59 --reprocess-behavior completed" in first
    with pytest.raises(ContractError, match="is before the first"):
        local.backfill(date(2026, 1, 9), date(2026, 1, 5), again=False, at_once=1)


def test_a_backfill_that_airflow_refuses_names_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, '[ "$1" != backfill ] || { echo "no such DAG"; exit 1; }', monkeypatch)
    with pytest.raises(RunError, match=r"not created; .*Its last line: no such DAG"):
        local.backfill(date(2026, 1, 5), date(2026, 1, 5), again=False, at_once=1)


def test_the_environment_is_that_of_the_script_whatever_airflow_home_was(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/somebodys/airflow")
    found = local.environment()
    assert found["AIRFLOW_HOME"] == str(local.ROOT / ".airflow")
    assert "AIRFLOW_HOME, /somebodys/airflow, is not used" in capfd.readouterr().err
    assert found["PATH"].split(":")[0] == str(local.ROOT / ".venv/bin")


@pytest.mark.parametrize(
    ("connection", "local_spark"),
    [
        ('{"conn_type": "spark", "host": "local[*]"}', True),
        ('{"conn_type": "spark", "host": "spark://127.0.0.1", "port": 7077}', False),
        ("spark://host:7077", False),
        (None, False),
    ],
)
def test_only_spark_in_this_process_is_shared(connection: str | None, local_spark: bool) -> None:
    env = {} if connection is None else {"AIRFLOW_CONN_SPARK_DEFAULT": connection}
    assert local.has_local_spark(env) is local_spark
