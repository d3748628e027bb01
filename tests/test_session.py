"""One driver for the Spark steps of a machine: attached to, left by a step that was killed, and done without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spark_jobs.session import shared_driver
from tests.conftest import ROOT

STEP = """
import sys
from spark_jobs.session import spark_session
spark = spark_session("step")
print(spark.range(7).count(), flush=True)
sys.stdin.read()
spark.stop()
"""


def step(driver: str) -> subprocess.Popen[str]:
    env = {**os.environ, "MARQUEE_SPARK_DRIVER": driver, "SPARK_LOCAL_IP": "127.0.0.1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", STEP], cwd=ROOT, env=env, **pipes)  # type: ignore[call-overload,no-any-return]


def counted(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.slow
def test_a_step_takes_the_place_of_one_that_was_killed_and_does_without_a_driver_that_died(tmp_path: Path) -> None:
    with shared_driver(tmp_path / "driver.log") as driver:
        killed = step(driver)
        assert counted(killed) == "7"
        killed.kill()
        killed.wait()
        following = step(driver)
        assert counted(following) == "7"
        assert following.communicate("")[0] == ""
        assert following.returncode == 0
    alone = step(driver)
    assert counted(alone) == "7"
    alone.communicate("")
    assert alone.returncode == 0
