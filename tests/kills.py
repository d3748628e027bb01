"""python -m tests.kills --warehouse FOLDER [--users 120 --titles 80 --seed 1]

Kills a night, an erase and an undo (SIGKILL, whole process group) at 30 random moments, and finishes each command after
its kills; then compares every table with those of a run that nothing disturbed. Each step of the night is a process of
its own, as under Airflow. Moments are between a command's first commit, or somewhat before, and its end: while Spark or
an engine starts, there is nothing to disturb. Makes FOLDER/calm and FOLDER/killed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from schemas.jars import jar_options
from schemas.settings import settings
from schemas.store import last_day
from serving.fingerprint import fingerprints
from tests.processes import ROOT, Command

_KILLS = {"night": 16, "erase": 7, "undo": 7}
_BEFORE_WRITING = 2.0  # seconds before a command's first commit at which moments begin
_STEPS = ("validate", "candidates", "contexts", "score", "audit", "publish")
_PARTS = {**dict.fromkeys(_STEPS, "night"), "erase": "erase", "undo": "undo"}
_USER, _USER_BEFORE = "42", "7"


@dataclass(frozen=True)
class Run:
    """The commands of one copy of the sample."""

    warehouse: Path
    ds: date

    def command(self, name: str, ds: date | None = None) -> Command:
        day = ["--ds", str(ds or self.ds)]
        arguments = {
            "score": [sys.executable, "-m", "marquee", "score", *day],
            "erase": [sys.executable, "-m", "marquee", "erase", _USER, "--purge"],
            "undo": [sys.executable, "-m", "marquee", "undo", *day],
        }.get(name)
        if not arguments:
            conf = {**jar_options(settings()), "spark.log.level": "ERROR"}
            submit = ["spark-submit", *(word for each in conf.items() for word in ("--conf", "=".join(each)))]
            arguments = [*submit, str(ROOT / "marquee" / "__main__.py"), "step", name, *day]
        log = self.warehouse.parent / f"{self.warehouse.name}-{name}.log"
        # One registry for both, as night_models says where it is.
        registry = f"sqlite:///{self.warehouse.parent}/registry.db"
        return Command(name, arguments, log, {"MARQUEE_WAREHOUSE": str(self.warehouse), "MARQUEE_REGISTRY": registry})

    def kill(self, name: str, after: float) -> int | None:
        """Start a command and kill it after `after` seconds. The number of its commits; None if it ended before."""
        before, until = self.commits(), time.monotonic() + after
        killed = self.command(name).kill(lambda: time.monotonic() >= until)
        return self.commits() - before if killed else None

    def finish(self, name: str) -> tuple[float, float]:
        """Run a command to its end: the seconds until shortly before its first commit, and until its end."""
        before, began = set(self._commits()), time.time()
        seconds = self.command(name).finish()
        first = min(each.stat().st_mtime for each in set(self._commits()) - before) - began
        return max(0.0, first - _BEFORE_WRITING), seconds

    def commits(self) -> int:
        """Number of commits to all tables so far."""
        return sum(1 for _ in self._commits())

    def _commits(self) -> Iterator[Path]:
        return self.warehouse.glob("*/_delta_log/*.json")


def moments(writing: dict[str, tuple[float, float]], draw: random.Random) -> list[tuple[str, float]]:
    """The commands to kill and the seconds after which: in the order of the commands, uniform over the seconds in which
    the commands of a part write.
    """
    drawn: list[tuple[str, float]] = []
    for part, number in _KILLS.items():
        names = [name for name in writing if _PARTS[name] == part]
        killed = draw.choices(names, [end - begin for begin, end in map(writing.__getitem__, names)], k=number)
        drawn += [(name, draw.uniform(*writing[name])) for name in killed]
    return sorted(drawn, key=lambda one: list(writing).index(one[0]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=str(__doc__).split("\n\n")[1])
    parser.add_argument("--warehouse", type=Path, required=True, help="a new folder")
    parser.add_argument("--users", type=int, default=120)
    parser.add_argument("--titles", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    calm, killed = arguments.warehouse.resolve() / "calm", arguments.warehouse.resolve() / "killed"
    _make(calm, arguments.users, arguments.titles)
    ds = date.fromisoformat(str(last_day(str(calm))))
    undisturbed, disturbed = Run(calm, ds), Run(killed, ds)
    # The night before is what an undo brings back; an erase before makes both copies hash users with the same salt.
    for step in _STEPS:
        undisturbed.command(step, ds - timedelta(days=1)).finish()
    _marquee("erase", _USER_BEFORE, "--warehouse", str(calm))
    shutil.copytree(calm, killed)
    writing = {}
    for name in _PARTS:
        writing[name] = undisturbed.finish(name)
        print(f"undisturbed {name}: {writing[name][1]:.1f} s, writing from {writing[name][0]:.1f} s on", flush=True)
    drawn = moments(writing, random.Random(arguments.seed))
    hit = 0
    for name in _PARTS:
        for after in [after for command, after in drawn if command == name]:
            commits = disturbed.kill(name, after)
            hit += commits is not None
            what = "ended before" if commits is None else f"killed after {commits} commits"
            print(f"{name} at {after:.1f} s: {what}", flush=True)
        print(f"{name} finished: {disturbed.command(name).finish():.1f} s", flush=True)
    print(f"{hit} of {len(drawn)} moments came before the command's end", flush=True)
    return _compare(fingerprints(str(calm)), fingerprints(str(killed)))


def _make(warehouse: Path, users: int, titles: int) -> None:
    size = ["--users", str(users), "--titles", str(titles)]
    _marquee("sample", "simulated", *size, "--warehouse", str(warehouse))


def _marquee(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "marquee", *arguments], cwd=ROOT, check=True)


def _compare(expected: dict[str, tuple[int, int]], found: dict[str, tuple[int, int]]) -> int:
    for name, rows_and_hash in expected.items():
        equal = "equal" if rows_and_hash == found.get(name) else "DIFFERENT"
        print(f"{name:<24} {rows_and_hash[0]:>8,} rows  {equal}")
    return 0 if expected == found else 1


if __name__ == "__main__":
    sys.exit(main())
