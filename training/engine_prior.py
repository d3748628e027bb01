"""Measures a checkpoint's label prior with the engine (`marquee models prior`), in the quantization of the settings.

Training measures it in its own number type. In FP8 a model prefers other numbers, and only the engine converts it to
FP8.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from inference.checkpoint import Checkpoint, own_folder, read_checkpoint, write_manifest
from inference.engine import Answer, Engine, Prompt, max_model_len
from inference.prior import PRIOR_FILES
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.tables import POST_TRAINING_EXAMPLES
from training.data import open_source
from training.prior import prior_of
from training.registry import Registry


def write_prior(place: str | Path, ds: date, config: Settings, engine: Engine | None = None) -> Checkpoint:
    """Measure the prior on training examples of `ds`, write it and the manifest, and return the checkpoint with its new
    version.

    Without `engine`, one is started. Raises ContractError if the checkpoint is registered or the engine refuses a
    question.
    """
    folder = own_folder(place)
    checkpoint = replace(read_checkpoint(folder), quantization=config.quantization)
    for registered in Registry(config.registry).versions() if config.registry else ():
        if registered.source == str(folder.resolve()):
            raise ContractError(
                f"{folder} is registered as version {registered.version}, and its version would change: measure the "
                "label prior of a copy of the folder"
            )
    source, tokens = open_source(config.warehouse, ds, [POST_TRAINING_EXAMPLES]), Tokens(checkpoint)
    running = engine or Engine(checkpoint, config, tokens.labels)
    # One token is generated after the prompt.
    found = prior_of(source, tokens, max_model_len(checkpoint, config) - 1, partial(engine_logprobs, running))
    (folder / PRIOR_FILES[config.quantization]).write_text(json.dumps(found, indent=2) + "\n")
    return write_manifest(folder, checkpoint.name, checkpoint.signals).quantized(config.quantization)


def engine_logprobs(engine: Engine, prompts: list[list[int]], labels: list[int]) -> np.ndarray:
    """Log-probabilities of the engine's first labels as the next token, (prompts, labels)."""
    answers = dict(engine.answers(Prompt(place, ids, len(labels)) for place, ids in enumerate(prompts)))
    found = []
    for place in range(len(prompts)):
        answer = answers[place]
        if not isinstance(answer, Answer):
            raise ContractError(f"the engine refused a question of the label prior's measurement: {answer.reason}")
        found.append(answer.logprobs)
    return np.array(found)
