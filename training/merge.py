"""Writes a trained model as one checkpoint that scoring can load, without an adapter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.checkpoint import Checkpoint, write_manifest
from inference.prior import PRIOR_FILES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOSSES = "loss.json"
"""File beside the weights: the losses of every stage up to this one, as a list of (stage, step, loss)."""


def write_merged(
    model: PreTrainedModel,
    base: Checkpoint,
    out: Path,
    name: str,
    losses: list[dict[str, Any]],
    prior: dict[str, Any],
    signals: Sequence[str],
) -> Checkpoint:
    """Write weights, tokenizer (copied from the base), losses and prior; last the manifest, and with it the version.

    Weights keep the number type in which they were trained: rounding them would change close answers.
    """
    model.save_pretrained(out)
    for file in base.path.glob("tokenizer*"):
        shutil.copyfile(file, out / file.name)
    (out / LOSSES).write_text(json.dumps(losses) + "\n")
    (out / PRIOR_FILES["none"]).write_text(json.dumps(prior, indent=2) + "\n")
    return write_manifest(out, name, signals)
