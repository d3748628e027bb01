"""What Spark tells of the stages that it ran, from its REST interface (docs: Monitoring, REST API)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.request import ProxyHandler, build_opener

from pyspark.sql import SparkSession

# The interface answers for every task kept; a session keeps the latest 100,000.
_ALL = 100_000
# Events reach the interface a little after the action that caused them has returned.
_SETTLED_SECONDS = 0.5

WITH_INTERFACE = {"spark.ui.enabled": "true", "spark.ui.port": "0"}
"""What a session is to be configured with, so that there is an interface to ask."""


@dataclass(frozen=True)
class Stage:
    """A stage that has ended. `seconds` and `rows` (read from files and from shuffles) of each of its tasks."""

    name: str
    seconds: list[float]
    rows: list[int]
    shuffled: int
    """Bytes that it wrote for a later stage."""
    spilled: int

    @property
    def slowest(self) -> float:
        return max(self.seconds)

    @property
    def time_skew(self) -> float:
        """The longest task over the median one."""
        return skew(self.seconds)

    @property
    def row_skew(self) -> float:
        return skew(self.rows)


def skew(values: list[float] | list[int]) -> float:
    """The largest over the median: 1 where there is one value or none above 0; infinite where most are 0."""
    if len(values) < 2 or max(values) == 0:
        return 1.0
    return max(values) / median(values) if median(values) else float("inf")


def stage_of(stage: dict[str, Any], tasks: list[dict[str, Any]]) -> Stage:
    """A stage as the interface describes it and its tasks."""
    metrics = [task["taskMetrics"] for task in tasks if task["status"] == "SUCCESS"]
    return Stage(
        name=stage["name"],
        seconds=[each["executorRunTime"] / 1000 for each in metrics],
        rows=[each["inputMetrics"]["recordsRead"] + each["shuffleReadMetrics"]["recordsRead"] for each in metrics],
        shuffled=stage["shuffleWriteBytes"],
        spilled=stage["diskBytesSpilled"],
    )


class StageLog:
    """The stages of a session, taken a few at a time."""

    def __init__(self, spark: SparkSession) -> None:
        context = spark.sparkContext
        if context.uiWebUrl is None:
            raise ValueError("the session has no interface to ask: give it WITH_INTERFACE")
        self._url = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages"
        # Not through a proxy that the environment may name.
        self._open = build_opener(ProxyHandler({})).open
        self._taken: set[tuple[int, int]] = set()

    def take(self) -> list[Stage]:
        """The stages that have ended since the last call, first to last."""
        found = self._ended()
        while True:
            time.sleep(_SETTLED_SECONDS)
            again = self._ended()
            if again.keys() == found.keys():
                break
            found = again
        new = sorted(found.keys() - self._taken)
        self._taken |= found.keys()
        return [
            stage_of(found[stage, attempt], self._get(f"/{stage}/{attempt}/taskList?length={_ALL}"))
            for stage, attempt in new
        ]

    def _ended(self) -> dict[tuple[int, int], dict[str, Any]]:
        return {(stage["stageId"], stage["attemptId"]): stage for stage in self._get("?status=complete")}

    def _get(self, what: str) -> list[dict[str, Any]]:
        with self._open(self._url + what, timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found
