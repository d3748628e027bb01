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

PENALTIES = (3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0)
"""L2 penalties of b and w to choose from."""
_FOLDS = 4
_BATCH = 16
_REPORTED = 100  # batches from one report of progress to the next


@dataclass(frozen=True)
class Options:
    """What the base makes of one prompt's K options: `states` (K, width) and `log_probs` (K,), each less its mean."""

    states: np.ndarray
    log_probs: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """(K, 1 + width): log-probabilities, then states."""
        return np.column_stack([self.log_probs, self.states])


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

    def rewards(self, options: Options) -> np.ndarray:
        """Log-odds of a play of each option over the mean option, (K,)."""
        found: np.ndarray = self.scale * options.log_probs + options.features @ self.coefficients
        return found


def read_options(model: Any, rows: Sequence[dict[str, Any]], layer: int) -> list[Options]:
    """The options of each of `rows` (input_ids, option_ids, option_ends) as `model` reads them, with the hidden states
    after `layer` layers. Progress is reported.
    """
    import torch

    device = next(model.parameters()).device
    found: dict[int, Options] = {}
    # Rows of similar length together need little padding.
    places = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
    for start in range(0, len(places), _BATCH):
        batch = [rows[place] for place in places[start : start + _BATCH]]
        ids = padded([row["input_ids"] for row in batch], 0).to(device)
        with torch.no_grad():
            read = model.model(ids, use_cache=False, output_hidden_states=True)
            last = torch.tensor([len(row["input_ids"]) - 1 for row in batch], device=device)
            answers = read.last_hidden_state[torch.arange(len(batch), device=device), last]
            log_probs = model.lm_head(answers).float().log_softmax(-1)
        for number, row in enumerate(batch):
            states = read.hidden_states[layer][number, row["option_ends"]].float()
            normed = states / states.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
            own = log_probs[number, row["option_ids"]]
            place = places[start + number]
            found[place] = Options((normed - normed.mean(0)).cpu().numpy(), (own - own.mean()).cpu().numpy())
        if start // _BATCH % _REPORTED == 0:
            report("distilled", f"the base has read {start + len(batch):,} of {len(rows):,} prompts")
    return [found[place] for place in range(len(rows))]


def fitted(rows: Sequence[dict[str, Any]], options: Sequence[Options], scale: float) -> Head:
    """The head for the outcomes of `rows` (user_id, shown, played, level, weight), with the penalty of the least
    log-loss on users who were left out. `scale` is s.
    """
    shown = [each.features[row["shown"]] for row, each in zip(rows, options, strict=True)]
    level, played, weight = (np.array([row[name] for row in rows], float) for name in ("level", "played", "weight"))
    features = np.stack(shown)
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
