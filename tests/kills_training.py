"""python -m tests.kills_training --warehouse FOLDER --ds D --out NEW_FOLDER [--limit 960]

Trains SFT and then DPO on a warehouse's examples twice, as their own processes: once undisturbed, and once killed
(SIGKILL, whole process group) three times each: before the first checkpoint, while the second is being written, and
after it. Then compares the checkpoints' versions, which are hashes of their files, and the losses that were kept.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inference.checkpoint import read_checkpoint
from schemas.settings import settings
from training.merge import LOSSES

_ROOT = Path(__file__).resolve().parent.parent
_EVERY = 5
"""Steps from one checkpoint to the next."""


@dataclass(frozen=True)
class Training:
    """One stage's command, its folder and its log."""

    stage: str
    base: Path
    out: Path
    arguments: list[str]

    def start(self) -> subprocess.Popen[bytes]:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        log = self.out.with_suffix(".log").open("ab")
        command = [sys.executable, "-m", f"training.{self.stage}", "--base", str(self.base), "--out", str(self.out)]
        return subprocess.Popen([*command, *self.arguments], cwd=_ROOT, stdout=log, stderr=log, start_new_session=True)

    def finish(self) -> None:
        if status := self.start().wait():
            raise SystemExit(f"{self.stage} ended with {status}: see {self.out.with_suffix('.log')}")

    def kill(self, when: Callable[[Path], bool]) -> None:
        """Start it and kill it as soon as `when` holds of its folder."""
        process = self.start()
        while process.poll() is None and not when(self.out / "trainer"):
            time.sleep(0.002)
        if process.poll() is not None:
            raise SystemExit(f"{self.stage} ended before it could be killed: see {self.out.with_suffix('.log')}")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kept = sorted(each.name for each in (self.out / "trainer").glob("checkpoint-*"))
        print(f"{self.stage} killed; checkpoints kept: {', '.join(kept) or 'none'}", flush=True)


def _begun(trainer: Path) -> bool:
    return (trainer / "run.json").exists()


def _being_written(trainer: Path) -> bool:
    return (trainer / f"checkpoint-{2 * _EVERY}").exists()


def _written(trainer: Path) -> bool:
    return (trainer / f"checkpoint-{2 * _EVERY}" / "trainer_state.json").exists()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills_training", description=str(__doc__).split("\n\n")[1])
    parser.add_argument("--warehouse", required=True, help="one that the step examples has been run on")
    parser.add_argument("--ds", required=True, help="the day of the examples")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--limit", default="960", help="examples to train on (default: %(default)s)")
    parsed = parser.parse_args()
    os.environ["MARQUEE_WAREHOUSE"] = parsed.warehouse
    arguments = ["--ds", parsed.ds, "--limit", parsed.limit, "--save-steps", str(_EVERY)]
    calm, killed = parsed.out.resolve() / "calm", parsed.out.resolve() / "killed"
    equal = True
    bases = Path(settings().model), Path(settings().model)
    for stage in ("sft", "dpo"):
        undisturbed, disturbed = (
            Training(stage, base, folder / stage, arguments) for base, folder in zip(bases, (calm, killed), strict=True)
        )
        undisturbed.finish()
        for when in (_begun, _being_written, _written):
            disturbed.kill(when)
        disturbed.finish()
        bases = undisturbed.out, disturbed.out
        expected, found = (read_checkpoint(folder) for folder in bases)
        same = expected.version == found.version
        same_losses = (expected.path / LOSSES).read_text() == (found.path / LOSSES).read_text()
        print(f"{stage}: {expected.version} undisturbed, {found.version} killed; losses equal: {same_losses}")
        equal = equal and same and same_losses
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
