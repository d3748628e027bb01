"""The command line that all recipes share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inference.checkpoint import read_checkpoint
from schemas.arguments import night_date
from schemas.contract import Table
from schemas.exit_codes import exit_status
from schemas.settings import settings
from training.data import open_source
from training.prior import measure_prior
from training.settings import Recipe, add_arguments, from_arguments
from training.stage import Stage, begin, done_already, run


def command(
    name: str,
    about: str,
    recipe: type[Recipe],
    trainer: Callable[[Stage, Recipe], Any],
    tables: Sequence[Table],
    arguments: list[str] | None,
) -> int:
    """Run one stage from the command line; `trainer` makes its trainer. A rerun goes on, or skips what is done."""
    parser = argparse.ArgumentParser(
        prog=f"python -m training.{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ds", type=night_date, required=True, help="the day of the examples, YYYY-MM-DD")
    parser.add_argument("--base", type=Path, required=True, help="folder of the checkpoint to begin from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint to make")
    parser.add_argument(
        "--name", help=f"the name that its scores are published under (default: the base's, and -{name})"
    )
    add_arguments(parser, recipe)
    parsed = parser.parse_args(arguments)
    # Weights, tokenizer and examples are all local.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

    def work() -> None:
        warehouse = settings().warehouse
        base = read_checkpoint(parsed.base)
        source = open_source(warehouse, parsed.ds, tables)
        chosen = from_arguments(parsed, recipe)
        stage = Stage(name, base, parsed.out, chosen, source, called=parsed.name)
        going_on = begin(stage)
        if going_on is None:
            done_already(stage)
            return
        checkpoint = run(going_on, trainer(going_on, chosen), lambda model: measure_prior(model, going_on))
        if checkpoint is not None:
            print(f"{name}: {checkpoint.path} is {checkpoint.version}", flush=True)

    return exit_status(name, work)
