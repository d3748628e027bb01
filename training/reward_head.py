"""A reward model: a linear head on the hidden states that the base has at the end of each option's line.

    log-odds of a play = level + s log π(k) + b log π(k) + w · h_k      (log π and h less their means over the options)

π is the base's own answer and s the log-odds that it stands for; h is the hidden state after a layer in the middle,
divided by its root mean square. What a base can tell of an artwork and a user is in these states already; how much each
is worth on this service is linear in them and has a single optimum, which a few thousand impressions find in seconds.
Without evidence b and w stay 0, which is the base. The level (training/levels.py) is what plays are expected there,
whatever artwork is shown.

A reward as a linear head: Ziegler et al., arXiv 1909.08593. That probing before fine-tuning keeps what the base knows:
Kumar et al., arXiv 2202.10054.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from schemas.events import report
from training.padding import padded
from training.prior import next_logprobs

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0)
"""L2 penalties of b and w to choose from."""
_FOLDS = 4
_BATCH = 16
_REPORTED = 100  # batches from one report of progress to the next


@dataclass(frozen=True)
class Outcomes:
    """N impressions: `features` of the shown options (N, 1 + width), and `expected`, `played` and `weight` (N,), where
    `expected` is the log-odds of a play by level and base.
    """

    features: np.ndarray
    expected: np.ndarray
    played: np.ndarray
    weight: np.ndarray

    def of(self, chosen: np.ndarray) -> Outcomes:
        return Outcomes(self.features[chosen], self.expected[chosen], self.played[chosen], self.weight[chosen])


@dataclass(frozen=True)
class Head:
    """`coefficients` (1 + width,): b, then w. `log_loss` is the mean per impression of users who were left out,
    `log_loss_of_base` that of level and base alone.
    """

    coefficients: np.ndarray
    scale: float
    penalty: float
    log_loss: float
    log_loss_of_base: float

    def rewards(self, options: np.ndarray) -> np.ndarray:
        """Log-odds of a play of each option over the mean option, (K,), from `read_options`."""
        found: np.ndarray = self.scale * options[:, 0] + options @ self.coefficients
        return found


def read_options(model: Any, rows: Sequence[dict[str, Any]], layer: int) -> list[np.ndarray]:
    """What `model` makes of the K options of each of `rows` (input_ids, option_ids, option_ends), (K, 1 + width): their
    log-probabilities, and the hidden states after `layer` layers, each less its mean. Progress is reported.
    """
    import torch

    device = next(model.parameters()).device
    found: dict[int, np.ndarray] = {}
    # Rows of similar length together need little padding.
    places = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
    for start in range(0, len(places), _BATCH):
        batch = [rows[place] for place in places[start : start + _BATCH]]
        prompts = [row["input_ids"] for row in batch]
        with torch.no_grad():
            read = model.model(padded(prompts, 0).to(device), use_cache=False, output_hidden_states=True)
            log_probs = next_logprobs(model, read.last_hidden_state, prompts)
        for number, row in enumerate(batch):
            states = read.hidden_states[layer][number, row["option_ends"]].float()
            normed = states / states.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
            features = torch.column_stack([log_probs[number, row["option_ids"]], normed])
            found[places[start + number]] = (features - features.mean(0)).cpu().numpy()
        if start // _BATCH % _REPORTED == 0:
            report("distilled", f"the base has read {start + len(batch):,} of {len(rows):,} prompts")
    return [found[place] for place in range(len(rows))]


def fitted(rows: Sequence[dict[str, Any]], options: Sequence[np.ndarray], scale: float) -> Head:
    """The head for the outcomes of `rows` (user_id, shown, played, level, weight), with the penalty of the least
    log-loss on users who were left out. `scale` is s.
    """
    features = np.stack([each[row["shown"]] for row, each in zip(rows, options, strict=True)])
    level, played, weight = (np.array([row[name] for row in rows], float) for name in ("level", "played", "weight"))
    outcomes = Outcomes(features, level + scale * features[:, 0], played, weight)
    folds = np.array([crc32(row["user_id"].encode()) % _FOLDS for row in rows])
    losses = {penalty: _left_out(outcomes, folds, penalty) for penalty in PENALTIES}
    best = min(PENALTIES, key=losses.__getitem__)
    of_base = float(_losses(outcomes, np.zeros(features.shape[1])).mean())
    return Head(_coefficients(outcomes, best), scale, best, losses[best], of_base)


def _left_out(outcomes: Outcomes, folds: np.ndarray, penalty: float) -> float:
    """The mean log-loss of impressions by heads that were fitted to the other folds."""
    found = np.zeros(len(folds))
    for fold in np.unique(folds):
        found[folds == fold] = _losses(outcomes.of(folds == fold), _coefficients(outcomes.of(folds != fold), penalty))
    return float(found.mean())


def _coefficients(outcomes: Outcomes, penalty: float) -> np.ndarray:
    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        missed = expit(_logits(outcomes, coefficients)) - outcomes.played
        gradient = outcomes.features.T @ (outcomes.weight * missed) + penalty * coefficients
        return float(_losses(outcomes, coefficients).sum() + penalty * (coefficients @ coefficients) / 2), gradient

    found: np.ndarray = minimize(loss, np.zeros(outcomes.features.shape[1]), jac=True, method="L-BFGS-B").x
    return found


def _losses(outcomes: Outcomes, coefficients: np.ndarray) -> np.ndarray:
    """The weighted log-loss of each impression, (N,)."""
    logits = _logits(outcomes, coefficients)
    found: np.ndarray = -outcomes.weight * log_expit(np.where(outcomes.played > 0, logits, -logits))
    return found


def _logits(outcomes: Outcomes, coefficients: np.ndarray) -> np.ndarray:
    found: np.ndarray = outcomes.expected + outcomes.features @ coefficients
    return found
