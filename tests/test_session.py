"""Sessions: a driver that steps share is left by a killed step and replaced when it has died; rows kept in one."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_jobs.session import materialized, shared_driver
from tests.conftest import ROOT

STEP = """
import sys
from spark_jobs.session import session_of_step
with session_of_step("step") as spark:
    print(spark.range(7).count(), spark.sparkContext.applicationId, flush=True)
    sys.stdin.read()
"""


def step(driver: str) -> subprocess.Popen[str]:
    env = {**os.environ, "MARQUEE_SPARK_DRIVER": driver, "SPARK_LOCAL_IP": "127.0.0.1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", STEP], cwd=ROOT, env=env, **pipes)  # type: ignore[call-overload,no-any-return]


def context(process: subprocess.Popen[str]) -> str:
    """The id of the Spark context in which a step has counted to 7."""
    assert process.stdout is not None
    count, context_id = process.stdout.readline().split()
    assert count == "7"
    return context_id


@pytest.mark.slow
def test_a_step_takes_the_place_of_one_that_was_killed_and_does_without_a_driver_that_died(tmp_path: Path) -> None:
    with shared_driver(tmp_path / "driver.log") as driver:
        killed = step(driver)
        of_killed = context(killed)
        killed.kill()
        killed.wait()
        contexts = []
        for _ in range(2):
            following = step(driver)
            contexts.append(context(following))
            assert following.communicate("")[0] == ""
            assert following.returncode == 0
        # A killed step may still be at work in its context; a finished one leaves its context to the next.
        assert contexts[0] == contexts[1] != of_killed
    alone = step(driver)
    assert context(alone) not in contexts
    alone.communicate("")
    assert alone.returncode == 0


def test_materialized_rows_are_computed_once_and_forget_their_plan(spark: SparkSession) -> None:
    rows = materialized(spark.range(3).withColumn("drawn", F.expr("uuid()")))
    assert rows.collect() == rows.collect()
    explained = StringIO()
    with redirect_stdout(explained):
        rows.join(rows.withColumnRenamed("drawn", "again"), "id", how="inner").explain()
    assert "ExistingRDD" in explained.getvalue()
    assert "Range" not in explained.getvalue()
