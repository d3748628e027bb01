"""Repeats of several sides: in which order they run, and what is said of what they took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Side = TypeVar("Side")


def alternating(sides: Sequence[Side], repeats: int) -> list[list[Side]]:
    """The sides of each repeat: every second one in reverse, so that no side is always first or after the same one."""
    return [list(sides) if repeat % 2 == 0 else list(sides)[::-1] for repeat in range(repeats)]


@dataclass(frozen=True)
class Rate:
    """Things per second over repeats."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:,.1f} ({self.low:,.1f}–{self.high:,.1f})"


def rate(things: int, seconds: Sequence[float]) -> Rate:
    """The rate of `things` done in each of `seconds`; its median is that of the median time."""
    return Rate(things / median(seconds), things / max(seconds), things / min(seconds))
