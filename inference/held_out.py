"""python -m inference.held_out --ds 2026-01-14 (--model FOLDER | --champion)

Scores the held-out questions of a run of post-training with one model, by the code that scores a night. The questions
are in `<warehouse>/post_training/questions`, the scores go to `<warehouse>/post_training/scores/<model version>`.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from inference.champion import model_of_tonight
from inference.checkpoint import Checkpoint, read_checkpoint
from inference.progress import log_to_stderr
from inference.score import score_shard
from schemas.exit_codes import exit_status
from schemas.settings import Settings, settings


def score_held_out(ds: date, model: Checkpoint, config: Settings) -> None:
    """Score them all in one shard; what is done is skipped."""
    score_shard(ds, 0, 1, config.of_questions(), model=model.path, into=config.of_scores(model.version).warehouse)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m inference.held_out", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ds", type=date.fromisoformat, required=True, help="the run's day, YYYY-MM-DD")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", type=Path, help="a checkpoint's folder")
    which.add_argument("--champion", action="store_true", help="the model that a night would score with now")
    parsed = parser.parse_args(arguments)
    log_to_stderr()

    def work() -> None:
        model = model_of_tonight(settings()) if parsed.champion else read_checkpoint(parsed.model)
        score_held_out(parsed.ds, model, settings())

    return exit_status("held_out", work)


if __name__ == "__main__":
    sys.exit(main())
