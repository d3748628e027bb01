"""python -m tests.kills_training --warehouse FOLDER --ds D --out NEW_FOLDER [--limit 960]

Trains SFT and then DPO on a warehouse's examples twice, as their own processes: once undisturbed, and once killed
(SIGKILL, whole process group) three times each: before the first checkpoint, while the second is being written, and
after it. Then compares the checkpoints' versions, which are hashes of their files, and their losses.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from inference.checkpoint import read_checkpoint
from schemas.settings import settings
from tests.processes import Command
from training.merge import LOSSES
from training.stage import RECORD

_EVERY = 5
"""Steps from one checkpoint to the next."""


def _training(stage: str, base: Path, out: Path, arguments: list[str], environment: dict[str, str]) -> Command:
    places = ["--base", str(base), "--out", str(out)]
    command = [sys.executable, "-m", "marquee", "train", stage, *places, *arguments]
    return Command(stage, command, out.with_suffix(".log"), environment)


def _begun(trainer: Path) -> bool:
    return (trainer / RECORD).exists()


def _being_written(trainer: Path) -> bool:
    return (trainer / f"checkpoint-{2 * _EVERY}").exists()


def _written(trainer: Path) -> bool:
    return (trainer / f"checkpoint-{2 * _EVERY}" / "trainer_state.json").exists()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills_training", description=str(__doc__).split("\n\n")[1])
    parser.add_argument("--warehouse", type=Path, required=True, help="one that the step examples has been run on")
    parser.add_argument("--ds", required=True, help="the day of the examples")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--limit", default="960", help="plays to train on (default: %(default)s)")
    parsed = parser.parse_args()
    warehouse = {"MARQUEE_WAREHOUSE": str(parsed.warehouse.resolve())}
    arguments = ["--ds", parsed.ds, "--limit", parsed.limit, "--batch", "32", "--save-steps", str(_EVERY)]
    calm, killed = parsed.out.resolve() / "calm", parsed.out.resolve() / "killed"
    equal = True
    bases = Path(settings().model), Path(settings().model)
    for stage in ("sft", "dpo"):
        outs = calm / stage, killed / stage
        undisturbed, disturbed = (
            _training(stage, base, out, arguments, warehouse) for base, out in zip(bases, outs, strict=True)
        )
        undisturbed.finish()
        trainer = outs[1] / "trainer"
        for when in (_begun, _being_written, _written):
            if not disturbed.kill(partial(when, trainer)):
                raise SystemExit(f"{stage} ended before it could be killed: give more plays with --limit")
            kept = sorted(each.name for each in trainer.glob("checkpoint-*"))
            print(f"{stage} killed; checkpoints kept: {', '.join(kept) or 'none'}", flush=True)
        disturbed.finish()
        bases = outs
        expected, found = (read_checkpoint(folder) for folder in bases)
        same = expected.version == found.version
        same_losses = (expected.path / LOSSES).read_text() == (found.path / LOSSES).read_text()
        print(f"{stage}: {expected.version} undisturbed, {found.version} killed; losses equal: {same_losses}")
        equal = equal and same and same_losses
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
