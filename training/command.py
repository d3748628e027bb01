"""Runs one recipe from start to end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from inference.checkpoint import MANIFEST, read_checkpoint
from inference.devices import take_gpu
from inference.fetch import keep, working_folder
from schemas.contract import ContractError
from schemas.events import report
from schemas.paths import is_uri
from schemas.settings import settings
from training.data import open_source
from training.prior import measure_prior
from training.settings import RECIPES, checked
from training.stage import RECORD, WORK, Stage, begin, done_already, run


def check_unquantized() -> None:
    """Raise ContractError if the settings' quantization forbids training."""
    if settings().quantization != "none":
        raise ContractError(
            f"MARQUEE_QUANTIZATION is {settings().quantization}, but training makes unquantized checkpoints: unset it, "
            "train, and evaluate a copy of the checkpoint in that quantization (docs/scaling.md)"
        )


def train(name: str, ds: date, base: str, out: str, called: str | None, values: Mapping[str, Any]) -> None:
    """Train the checkpoint in `base` by the recipe `name` with the settings `values`, on the examples of `ds`, and
    write the result to `out`; each is a folder or a URI. A rerun resumes, or skips a finished stage.

    `called` is the name of its scores; by default the base's name and `-name`. Raises ContractError for a setting that
    the recipe does not accept, if a quantization is set, and if there is nothing to learn from.
    """
    check_unquantized()
    # Weights, tokenizer and examples are all local.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    take_gpu()
    chosen = checked(RECIPES[name], values)
    recipe = import_module(f"training.{name}")
    source = open_source(settings().warehouse, ds, recipe.TABLES)
    folder = working_folder(out, MANIFEST, f"{WORK}/{RECORD}") if is_uri(out) else Path(out)
    stage = Stage(name, read_checkpoint(base), folder, chosen, source, called=called)
    begun = begin(stage)
    if begun is None:
        done_already(stage)
    else:
        checkpoint = run(begun, recipe.train(begun, chosen), lambda model: measure_prior(model, begun))
        if checkpoint is None:
            return
        report(name, f"{out} is {checkpoint.version}", model_version=checkpoint.version)
    if is_uri(out):
        keep(folder, out, MANIFEST, f"{WORK}/{RECORD}")
