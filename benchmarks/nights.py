"""Successive nights: work and time if 0 %, 1 %, … of the users watched something.

The real steps run on a simulated service: the Spark steps in one session, scoring as `marquee score` with
the model of the settings. The pairs scored and the rows rewritten are compared with those that truly changed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Row, Table
from inference.job import ScoringJob
from schemas.tables import ARTWORK_SELECTIONS, NIGHT_STEPS

STEPS = ("validate", "candidates", "contexts", "score", "audit", "publish")


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Table]:
    from benchmarks.spark_service import LivingService, night_row
    from spark_jobs.audit import audit
    from spark_jobs.candidates import candidates
    from spark_jobs.contexts import contexts
    from spark_jobs.publish import publish
    from spark_jobs.session import spark_session
    from spark_jobs.validate import validate

    spark = spark_session("nights", **{"spark.master": "local[*]"})
    service = LivingService.make(spark, folder / "warehouse", arguments.users, arguments.titles)
    warehouse = service.warehouse
    place = warehouse.settings.warehouse
    table: list[Row] = []
    # Everything is new in the first night.
    for number, share in enumerate([1.0, *arguments.shares]):
        name = f"{share:.0%} watched" if number else "first"
        night = service.night(number, share)
        before = warehouse.version(ARTWORK_SELECTIONS) if warehouse.has(ARTWORK_SELECTIONS) else 0
        for step in (validate, candidates, contexts):
            step(night)
        command = [sys.executable, "-m", "marquee", "score", "--ds", str(night.ds)]
        subprocess.run(command, env={**os.environ, "MARQUEE_WAREHOUSE": place}, check=True, stderr=subprocess.DEVNULL)
        for step in (audit, publish):
            step(night)
        spark.catalog.clearCache()
        rows = ScoringJob(place, night.ds).rows(NIGHT_STEPS, ["step", "seconds"])
        seconds = {row["step"].removesuffix("_0"): row["seconds"] for row in rows}
        times = {**{step: seconds[step] for step in STEPS}, "all": sum(seconds.values())}
        table.append({**night_row(name, night, before), **times})
    spark.stop()
    yield f"Pairs of {arguments.users:,} users, and seconds by step; score includes the engine's start", table


def main(arguments: list[str]) -> int:
    parser = harness.parser("nights", __doc__)
    parser.add_argument("--users", type=int, default=1000, help="users of the service")
    parser.add_argument("--titles", type=int, default=200, help="titles of the service")
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.01, 0.05, 0.2, 1], help="users who watch")
    return harness.run(parser, arguments, measure)
