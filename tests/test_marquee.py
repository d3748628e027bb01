"""The command line: errors are one sentence, with an exit status for the scheduler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from marquee.cli import app
from marquee.machine_commands import benchmarks
from schemas.events import EVENTS, emit, report, report_counts
from schemas.exit_codes import REFUSED
from tests.conftest import ROOT, RunMarquee

HEAVY = {"airflow", "mlflow", "pyspark", "torch", "transformers", "vllm"}


def commands() -> list[str]:
    """Every command, as typed."""

    def below(path: str, command: object) -> list[str]:
        inner = getattr(command, "commands", None)
        return (
            [f"{path} {name}" for name in [""]]
            if inner is None
            else [found for name, each in inner.items() for found in below(f"{path} {name}".strip(), each)]
        )

    return [path.strip() for path in below("", typer.main.get_command(app))]


@pytest.mark.parametrize("command", [each for each in commands() if each != "bench"])
def test_every_command_has_help(command: str, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]) -> None:
    assert marquee(*command.split(), "--help") == 0
    printed = capsys.readouterr().out
    assert f"Usage: marquee {command}" in " ".join(printed.split())


def test_without_a_command_help_is_printed(marquee: RunMarquee, capsys: pytest.CaptureFixture[str]) -> None:
    assert marquee() == 0
    printed = capsys.readouterr().out
    assert {each.split()[0] for each in commands()} <= set(printed.replace("│", " ").split())


def test_help_is_printed_without_importing_what_a_command_needs() -> None:
    code = (
        "import sys; from marquee.cli import main; main(['--help']); "
        f"print([name for name in {sorted(HEAVY)!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lookp"], "marquee: No such command 'lookp'. Did you mean 'lookup'?"),
        (["lookup", "--usr", "42"], "marquee lookup: No such option: --usr (Possible options: --user)"),
        (["lookup", "--user", "caf\udce9"], "marquee lookup: Invalid value for '--user': 'caf\\udce9' is not UTF-8"),
        (["lookup", "--warehouse", "s3://"], "marquee lookup: Invalid value for '--warehouse': 's3://': a URI without"),
        (["score"], "marquee score: Missing option '--ds'"),
        (["score", "--ds", "2026-01-14", "--shards", "0"], "marquee score: Invalid value for '--shards'"),
        (
            ["score", "--ds", "2026-01-14", "--shard", "2"],
            "marquee score: Invalid value: --shard is 2, but counts from",
        ),
        (["score-held-out", "--ds", "2026-01-14"], "marquee score-held-out: Invalid value: give either --model"),
        (["sample", "simulated", "--users", "0"], "marquee sample simulated: Invalid value for '--users'"),
        (["bench", "nothing"], "marquee bench: Invalid value: there is no benchmark 'nothing'; expected one of"),
        (["step"], "marquee step: Missing command"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: list[str], sentence: str, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee(*arguments) == REFUSED
    printed = capsys.readouterr().err
    assert printed.startswith(sentence)
    assert printed.count("\n") == 1


def test_the_benchmarks_are_listed_and_run(marquee: RunMarquee, capsys: pytest.CaptureFixture[str]) -> None:
    assert marquee("bench") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == benchmarks()


def test_relative_paths_are_absolute_for_child_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task of a DAG runs in its own folder."""
    from marquee.options import configured
    from schemas.settings import settings

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARQUEE_WAREHOUSE", "elsewhere")
    monkeypatch.setenv("MARQUEE_MODEL", "model")
    settings.cache_clear()
    try:
        assert configured("tables").warehouse == os.environ["MARQUEE_WAREHOUSE"] == str(tmp_path / "tables")
        assert os.environ["MARQUEE_MODEL"] == str(tmp_path / "model")
        assert "MARQUEE_REGISTRY" not in os.environ
    finally:
        settings.cache_clear()


def test_reports_are_events_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report("publish", "no file is named yet")
    monkeypatch.setenv(EVENTS, str(tmp_path / "events"))
    report_counts("publish", 1.25, {"inserted": 1500})
    emit("progress", done=1)
    assert capsys.readouterr().out.splitlines()[-1] == "publish: 1.2 s, inserted 1,500"
    first, second = map(json.loads, (tmp_path / "events").read_text().splitlines())
    assert first == {
        "event": "report",
        "step": "publish",
        "message": "1.2 s, inserted 1,500",
        "seconds": 1.25,
        "counts": {"inserted": 1500},
    }
    assert second == {"event": "progress", "done": 1}


def test_a_command_emits_that_it_began_and_why_it_ended(
    tmp_path: Path, marquee: RunMarquee, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EVENTS, str(tmp_path / "events"))
    assert marquee("summary", "--ds", "2026-01-14", "--warehouse", str(tmp_path)) == REFUSED
    began, ended = map(json.loads, (tmp_path / "events").read_text().splitlines())
    assert (began["event"], began["command"]) == ("started", "marquee summary")
    assert (ended["event"], ended["command"], ended["status"]) == ("failed", "marquee summary", REFUSED)
    assert ended["message"].startswith("night_steps: there is no Delta table")


def test_an_event_that_cannot_be_written_does_not_fail_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(EVENTS, "/nowhere/events")
    emit("progress", done=1)
    assert "'/nowhere/events' and cannot be written" in capsys.readouterr().err


def test_no_cluster_is_started_for_a_missing_command(marquee: RunMarquee, capsys: pytest.CaptureFixture[str]) -> None:
    assert marquee("spark-cluster", "no-such-command", "--option") == REFUSED
    assert "there is no command 'no-such-command' on this machine" in capsys.readouterr().err
