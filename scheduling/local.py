"""Airflow on this machine, as `marquee` runs it: its home, one run of a DAG, a backfill.

Production does not use this module: there you configure and run Airflow yourself.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from schemas.contract import ContractError
from schemas.events import EVENTS
from schemas.exit_codes import REFUSED, RunError

ROOT = Path(__file__).resolve().parent.parent
POOLS = {"gpu": "One slot per GPU: a scoring task each", "publish": "Runs publish one after the other"}

_SECONDS_BETWEEN_READS = 0.2
# Less than the minute before Airflow retries a task.
_SECONDS_TO_END = 15
_TRIES_AT_BACKFILL = 8


def environment() -> dict[str, str]:
    """This process's environment with that of scripts/env.sh, whose messages are printed."""
    command = ["bash", "-c", '. "$0" && env -0', str(ROOT / "scripts/env.sh")]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    pairs = (pair.partition("=") for pair in os.fsdecode(done.stdout).split("\0") if pair)
    return {name: value for name, _, value in pairs}


def airflow_home() -> dict[str, str]:
    """Make Airflow's database and the DAGs' pools, unless this version of Airflow has done so; return the environment
    in which Airflow runs. Raises RunError if Airflow fails.
    """
    env = environment()
    home = Path(env["AIRFLOW_HOME"])
    stamp, ours = home / ".ready", version("apache-airflow")
    if stamp.exists() and stamp.read_text().strip() == ours:
        return env
    print(f"Making Airflow's database in {home}", flush=True)
    home.mkdir(parents=True, exist_ok=True)
    log = home / "setup.log"
    with log.open("w") as kept:
        for command in (["db", "migrate"], *(["pools", "set", pool, "1", why] for pool, why in POOLS.items())):
            if subprocess.run(["airflow", *command], env=env, stdout=kept, stderr=kept, check=False).returncode:
                raise RunError(f"`airflow {shlex.join(command)}` failed; its output is in {log}")
    # Written last, so that an existing stamp means a complete home.
    stamp.write_text(f"{ours}\n")
    return env


def log_of(env: Mapping[str, str], name: str) -> Path:
    """The log file `name` in Airflow's home; its folder is made."""
    log = Path(env["AIRFLOW_HOME"], "logs", f"{name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def has_local_spark(env: Mapping[str, str]) -> bool:
    """Whether an environment's connection spark_default is Spark in the driver's own process."""
    try:
        return str(json.loads(env.get("AIRFLOW_CONN_SPARK_DEFAULT", ""))["host"]).startswith("local")
    except (ValueError, KeyError, TypeError):
        return False


def run_dag(dag: str, ds: date, env: Mapping[str, str]) -> None:
    """Run a DAG for a day in one process (`airflow dags test`), in the environment of `airflow_home`, and print the
    reports of its steps. Raises ContractError if a step refuses its input or result, and RunError if a task fails in
    another way, or if the same DAG and day run already in this Airflow home, whatever their warehouse: Airflow would
    replace the one run by the other.
    """
    log = log_of(env, f"{dag}-{ds}")
    print(f"{dag} of {ds} on {env.get('MARQUEE_WAREHOUSE', ROOT / 'warehouse')}; its log is {log}", flush=True)
    began = time.monotonic()
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder, log.open("ab") as kept:
        try:
            fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{dag} of {ds} is running already; its log is {log}. Wait for its end") from None
        kept.truncate(0)
        events = Path(folder, "events")
        events.touch()
        run = {**env, EVENTS: str(events), "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False", "NO_COLOR": "1"}
        follower = Follower(console)
        command = ["airflow", "dags", "test", dag, str(ds)]
        with running(command, run, kept) as process, _following(events, follower):
            status = process.wait()
    if status:
        cause = "" if follower.status else f" Its last line: {_last_line(log)}"
        failure = ContractError if follower.status == REFUSED else RunError
        raise failure(f"{dag} of {ds} failed; its log is {log}.{cause}")
    console.print(f"The run took {time.monotonic() - began:.0f} s, with the starts of Airflow and of the steps\n")


@contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does not outlive the block; it prints to `output`, or to this process's own output."""
    process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, by force if SIGTERM does not end it in time: `airflow dags test` only ends the present task on a
    SIGTERM, and would retry it.
    """
    process.terminate()
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Follower:
    """Prints the events of a run on a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.status = 0
        """The exit status of the last command that failed and reported why; 0 if none did."""

    def show(self, event: dict[str, Any]) -> None:
        if event["event"] == "started":
            self._print(f"[bold]{_short(event['command'])}[/bold]")
        elif event["event"] == "failed":
            self.status = event["status"]
            self._print(f"[bold red]{_short(event['command'])} failed[/bold red]")
        if "message" in event:
            self._print_detail(event["message"])

    def _print(self, text: str) -> None:
        self.console.print(f"{time.strftime('%H:%M:%S')}  {text}")

    def _print_detail(self, message: str) -> None:
        for line in message.splitlines():
            # Messages are plain text: square brackets in them are no markup.
            self.console.print(f"          {line}", markup=False)


def _short(command: str) -> str:
    """`marquee step validate` as the task's name, `validate`."""
    return command.removeprefix("marquee ").removeprefix("step ")


@contextmanager
def _following(events: Path, follower: Follower) -> Iterator[None]:
    """Show events as they are appended to a file, until the body ends and all are shown."""
    ended = threading.Event()

    def follow() -> None:
        begun = ""
        with events.open() as appended:
            while True:
                last = ended.wait(_SECONDS_BETWEEN_READS)
                # The last line may be incomplete.
                *lines, begun = (begun + appended.read()).split("\n")
                for line in lines:
                    follower.show(json.loads(line))
                if last:
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"


def backfill(first: date, last: date, again: bool, at_once: int) -> None:
    """Queue the nights from `first` to `last`, inclusive, in the running Airflow, at most `at_once` at a time; with
    `again` also those that already have a run.

    Raises RunError if Airflow refuses.
    """
    if last < first:
        raise ContractError(f"the last night, {last}, is before the first, {first}")
    env = airflow_home()
    log = log_of(env, f"backfill-{first}-{last}")
    options = {
        "--dag-id": "artwork_nightly",
        "--from-date": str(first),
        # A date without time means midnight, before that night's run at 02:00.
        "--to-date": f"{last}T23:59:59",
        "--reprocess-behavior": "completed" if again else "none",
        "--max-active-runs": str(at_once),
    }
    create = ["backfill", "create", *(word for option in options.items() for word in option)]
    for attempt in range(1, _TRIES_AT_BACKFILL + 1):
        with log.open("w") as kept:
            if all(
                subprocess.run(["airflow", *command], env=env, stdout=kept, stderr=kept, check=False).returncode == 0
                for command in (["dags", "unpause", "--yes", "artwork_nightly"], create)
            ):
                return
        # SQLite refuses other writers while the scheduler writes; Airflow then leaves nothing behind.
        if "database is locked" not in log.read_text():
            break
        print(f"Airflow's SQLite database was being written to; trying again ({attempt})", flush=True)
        time.sleep(attempt)
    raise RunError(f"the backfill was not created; Airflow's output is in {log}. Its last line: {_last_line(log)}")
