"""The label prior of a checkpoint as the engine scores it (`marquee models prior`), in the quantization that is set.

Training measures it in the number type that it trains in. In FP8 a model likes the numbers otherwise, and only the
engine turns it into FP8.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from inference.checkpoint import Checkpoint, read_checkpoint, write_manifest
from inference.engine import Answer, Engine, Prompt, max_model_len
from inference.prior import PRIOR_FILES
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.tables import POST_TRAINING_EXAMPLES
from training.data import open_source
from training.prior import prior_of
from training.registry import Registry


def write_prior(folder: Path, ds: date, config: Settings, engine: Engine | None = None) -> Checkpoint:
    """Measure the prior on training examples of `ds`, and write it and the manifest; the checkpoint, whose version is
    another now.

    An engine is started where none is given. Raises ContractError for a registered checkpoint, and where the engine
    does not answer.
    """
    checkpoint = replace(read_checkpoint(folder), quantization=config.quantization)
    for registered in Registry(config.registry).versions() if config.registry else ():
        if registered.source == str(folder.resolve()):
            raise ContractError(
                f"{folder} is registered as version {registered.version}, and its version would change: measure the "
                "label prior of a copy of the folder"
            )
    source, tokens = open_source(config.warehouse, ds, [POST_TRAINING_EXAMPLES]), Tokens(checkpoint)
    asked = engine or Engine(checkpoint, config, tokens.labels)
    # One token is generated after the prompt.
    found = prior_of(source, tokens, max_model_len(checkpoint, config) - 1, partial(engine_logprobs, asked))
    (folder / PRIOR_FILES[config.quantization]).write_text(json.dumps(found, indent=2) + "\n")
    return write_manifest(folder, checkpoint.name, checkpoint.signals).quantized(config.quantization)


def engine_logprobs(engine: Engine, prompts: list[list[int]], labels: list[int]) -> np.ndarray:
    """Log-probabilities of the engine's first labels as the next token, (prompts, labels)."""
    answers = dict(engine.answers(Prompt(place, ids, len(labels)) for place, ids in enumerate(prompts)))
    found = []
    for place in range(len(prompts)):
        answer = answers[place]
        if not isinstance(answer, Answer):
            raise ContractError(f"the engine refused a question that the label prior is measured on: {answer.reason}")
        found.append(answer.logprobs)
    return np.array(found)
