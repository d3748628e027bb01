"""python -m tests.kills --warehouse FOLDER [--users 300 --titles 200]

Runs a sample's night twice, as its steps' own processes: once undisturbed, and once with the scoring process and the
Spark driver of two steps killed (SIGKILL, whole process group) three times each before they may finish: scoring after
each quarter of its commits, a Spark step after its first, second and third. Then compares every table. Makes
FOLDER/calm and FOLDER/killed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

from schemas.jars import jar_options
from schemas.settings import settings
from schemas.store import last_day
from schemas.tables import ARTWORK_SELECTIONS
from serving.fingerprint import fingerprints
from tests.processes import ROOT, Command

_KILLED = ("contexts", "score", "publish")
_STEPS = ("validate", "candidates", "contexts", "score", "audit", "publish")


@dataclass(frozen=True)
class Run:
    """The night of one copy of the sample."""

    warehouse: Path
    ds: str

    def command(self, step: str) -> Command:
        arguments = [sys.executable, "-m", "marquee", "score", "--ds", self.ds]
        if step != "score":
            conf = {**jar_options(settings()), "spark.log.level": "ERROR"}
            submit = ["spark-submit", *(word for each in conf.items() for word in ("--conf", "=".join(each)))]
            arguments = [*submit, str(ROOT / "marquee" / "__main__.py"), "step", step, "--ds", self.ds]
        log = self.warehouse.parent / f"{self.warehouse.name}-{step}.log"
        return Command(step, arguments, log, {"MARQUEE_WAREHOUSE": str(self.warehouse)})

    def kill(self, step: str, after: int) -> int:
        """Start a step and kill it after `after` commits; return the number of its commits."""
        before = self.commits()
        self.command(step).kill(lambda: self.commits() - before >= after)
        return self.commits() - before

    def commits(self) -> int:
        """Commits to all tables so far."""
        return sum(1 for _ in self.warehouse.glob("*/_delta_log/*.json"))

    def published(self) -> tuple[int, int]:
        """Version and number of rows of the table that serving reads."""
        table = DeltaTable(str(self.warehouse / ARTWORK_SELECTIONS.name))
        return table.version(), table.count()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=str(__doc__).split("\n\n")[1])
    parser.add_argument("--warehouse", type=Path, required=True, help="a new folder")
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--titles", type=int, default=200)
    arguments = parser.parse_args()
    calm, killed = arguments.warehouse.resolve() / "calm", arguments.warehouse.resolve() / "killed"
    sample = ["--users", str(arguments.users), "--titles", str(arguments.titles), "--warehouse", str(calm)]
    subprocess.run([sys.executable, "-m", "marquee", "sample", "simulated", *sample], cwd=ROOT, check=True)
    shutil.copytree(calm, killed)
    ds = str(last_day(str(calm)))
    undisturbed, disturbed = Run(calm, ds), Run(killed, ds)
    commits = {}
    for step in _STEPS:
        before = undisturbed.commits()
        seconds = undisturbed.command(step).finish()
        commits[step] = undisturbed.commits() - before
        print(f"undisturbed {step}: {seconds:.1f} s, {commits[step]} commits", flush=True)
    for step in _STEPS:
        for quarter in (1, 2, 3) if step in _KILLED else ():
            # Scoring resumes after the finished buckets; a Spark step starts anew.
            wanted = commits[step] // 4 if step == "score" else min(quarter, commits[step] - 1)
            made = disturbed.kill(step, wanted)
            version, rows = disturbed.published()
            print(f"{step} killed after {made} commits; artwork_selections: version {version}, {rows} rows", flush=True)
        print(f"{step} finished: {disturbed.command(step).finish():.1f} s", flush=True)
    return _compare(fingerprints(str(calm)), fingerprints(str(killed)))


def _compare(expected: dict[str, tuple[int, int]], found: dict[str, tuple[int, int]]) -> int:
    for name, rows_and_hash in expected.items():
        equal = "equal" if rows_and_hash == found.get(name) else "DIFFERENT"
        print(f"{name:<24} {rows_and_hash[0]:>8,} rows  {equal}")
    return 0 if expected == found else 1


if __name__ == "__main__":
    sys.exit(main())
