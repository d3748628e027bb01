"""The command of the kill tests: it runs to its end, or is killed with its children."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.processes import Command


def python(code: str, folder: Path, **environment: str) -> Command:
    return Command("step", [sys.executable, "-c", code], folder / "logs" / "step.log", environment)


def test_a_command_that_fails_says_where_its_log_is(tmp_path: Path) -> None:
    command = python("import os, sys; sys.exit(os.environ['SAID'])", tmp_path, SAID="bad input")
    with pytest.raises(SystemExit, match=r"step ended with 1: see .*step\.log"):
        command.finish()
    assert command.log.read_text() == "bad input\n"


def test_a_killed_command_leaves_no_child_that_goes_on(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    child = f"import time, pathlib\nwhile True: pathlib.Path({str(beats)!r}).touch(); time.sleep(0.01)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert python(parent, tmp_path).kill(beats.exists)
    time.sleep(0.1)
    beats.unlink()
    time.sleep(0.1)
    assert not beats.exists()


def test_a_command_that_ends_before_the_kill_was_not_killed(tmp_path: Path) -> None:
    assert not python("", tmp_path).kill(lambda: False)
    with pytest.raises(SystemExit, match="step ended with 3"):
        python("raise SystemExit(3)", tmp_path).kill(lambda: False)
