"""Measures a checkpoint's label prior, its preference for each option number (formula: inference/prior.py).

It uses a few training questions for each number of options, each in all rotations: every option is once at each number,
so the options' content adds the same to all numbers and cancels out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.tokens import Tokens
from schemas.prompt import Choice
from training.data import Source, prompt_ids

if TYPE_CHECKING:
    from torch import Tensor, nn

    from training.stage import Stage

PROMPTS = 64
"""About the number of prompts for each number of options: PROMPTS / K questions, each in its K rotations."""
LEAST_QUESTIONS = 2
_BATCH = 16
Logprobs = Callable[[list[list[int]], list[int]], np.ndarray]
"""(prompts, labels) as token ids → log-probabilities of the labels as the next token, (prompts, labels)."""


def measure_prior(model: nn.Module, stage: Stage) -> dict[str, Any]:
    """The content of `label_prior.json` for a model in training."""
    return prior_of(stage.source, stage.tokens, stage.limit, partial(label_logprobs, model))


def prior_of(source: Source, tokens: Tokens, limit: int, logprobs: Logprobs) -> dict[str, Any]:
    """b_K by K, and the parameters of its measurement. `limit` is the most tokens of a prompt."""
    prior = {}
    for options, questions in sorted(questions_by_options(source).items()):
        prompts = rotated_prompts(questions, options, tokens, limit)
        if prompts:
            mean = logprobs(prompts, tokens.labels[:options]).mean(axis=0)
            prior[str(options)] = [round(float(value), 6) for value in mean - mean.mean()]
    return {"prompts": PROMPTS, "prior": prior}


def questions_by_options(source: Source) -> dict[int, list[tuple[str, str]]]:
    """The first few (context, choice) of training examples for each number of options K: PROMPTS / K."""
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for row in source.training(["context", "choice", "artwork_ids"]):
        options = len(row["artwork_ids"])
        known = found[options]
        if len(known) < max(LEAST_QUESTIONS, PROMPTS // options):
            known.append((row["context"], row["choice"]))
    return found


def rotated_prompts(questions: list[tuple[str, str]], options: int, tokens: Tokens, limit: int) -> list[list[int]]:
    """The questions in all rotations, as token ids, without those that are too long even without history."""
    prompts = [
        prompt_ids(tokens, context, Choice.parse(choice).rotated(shift).text, limit)
        for context, choice in questions
        for shift in range(options)
    ]
    return [prompt for prompt in prompts if prompt is not None]


def label_logprobs(model: nn.Module, prompts: list[list[int]], labels: list[int]) -> np.ndarray:
    """Log-probabilities of the labels as the next token, (prompts, labels), over the whole vocabulary."""
    import torch

    from training.padding import padded

    device = next(model.parameters()).device
    found = []
    for start in range(0, len(prompts), _BATCH):
        batch = prompts[start : start + _BATCH]
        ids = padded(batch, 0).to(device)
        with torch.no_grad():
            hidden = model.model(ids, use_cache=False).last_hidden_state  # type: ignore[operator]
            found.append(next_logprobs(model, hidden, batch)[:, labels].cpu().numpy())
    values: np.ndarray = np.concatenate(found)
    assert math.isfinite(float(values.sum()))
    return values


def next_logprobs(model: Any, hidden: Tensor, prompts: list[list[int]]) -> Tensor:
    """Log-probabilities of the token after each prompt, (N, vocabulary), from the last layer's hidden states (N, L, …)
    of the padded prompts.
    """
    import torch

    ends = torch.tensor([len(prompt) - 1 for prompt in prompts], device=hidden.device)
    last = hidden[torch.arange(len(prompts), device=hidden.device), ends]
    logprobs: Tensor = model.lm_head(last).float().log_softmax(-1)
    return logprobs
