"""python -m inference.held_out --ds 2026-01-14 (--model FOLDER | --champion) [--orders 4]

Scores the held-out questions of a run of post-training with one model, by the code that scores a night. The questions
are in `<warehouse>/post_training/questions`, the scores go to `<warehouse>/post_training/scores/<model version>`. With
--orders every question is asked in so many rotations, whatever the settings say of close pairs, and what they say
together goes to `…/<model version>+orders4`, which `evaluation.evaluate --model` takes for a model's version.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from inference.champion import model_of_tonight
from inference.checkpoint import Checkpoint, read_checkpoint
from inference.orders import averaged
from inference.progress import log_to_stderr
from inference.score import score_shard
from schemas.arguments import night_date
from schemas.exit_codes import exit_status
from schemas.settings import Settings, settings


def score_held_out(ds: date, model: Checkpoint, config: Settings, orders: int | None = None) -> None:
    """Score them all in one shard; what is done is skipped. With `orders` each question is asked in so many rotations,
    or all that it has.
    """
    name = model.version
    if orders is not None:
        name = averaged(name, orders)
        config = config.in_orders(orders)
    score_shard(ds, 0, 1, config.of_questions(), model=model.path, into=config.of_scores(name).warehouse)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m inference.held_out", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ds", type=night_date, required=True, help="the run's day, YYYY-MM-DD")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", type=Path, help="a checkpoint's folder")
    which.add_argument("--champion", action="store_true", help="the model that a night would score with now")
    parser.add_argument("--orders", type=int, help="ask each question in so many rotations and take the mean")
    parsed = parser.parse_args(arguments)
    if parsed.orders is not None and parsed.orders < 2:
        parser.error(f"--orders is {parsed.orders}, but a mean takes two or more")
    log_to_stderr()

    def work() -> None:
        model = model_of_tonight(settings()).model if parsed.champion else read_checkpoint(parsed.model)
        score_held_out(parsed.ds, model, settings(), parsed.orders)

    return exit_status("held_out", work)


if __name__ == "__main__":
    sys.exit(main())
