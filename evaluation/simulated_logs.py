"""Simulated logs with known truth, to test the estimators on.

A user has a level and a taste for each theme; an artwork has a theme and an appeal.

    P(play) = sigmoid(LEVEL + 0.6 level + 0.8 taste[theme] + 0.6 appeal)

The logging policy is 0.8 softmax(0.9 appeal + 0.45 noise) + 0.2 / K. Two policies are evaluated: `popular` shows the
artwork with the most appeal, `personal` the one with the most appeal and taste, which it knows with some error. The
seed determines the titles, and (seed, size, log) each log's users and impressions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

TITLES = 60
THEMES = 6
MOST_ARTWORKS = 8
IMPRESSIONS_A_USER = 5
LEVEL = -0.9
EXPLORE = 0.2
TARGETS = {"popular": "popular", "personal": "personal"}
_NUMBERS = np.arange(MOST_ARTWORKS).astype(str)
_THIRDS = (-0.43, 0.43)  # of the normal distribution


@dataclass(frozen=True)
class Titles:
    """Arrays of (TITLES, MOST_ARTWORKS); `real` marks the artworks that exist, at least two per title."""

    real: np.ndarray
    theme: np.ndarray
    appeal: np.ndarray
    liked: np.ndarray


def titles_of(seed: int) -> Titles:
    rng = np.random.default_rng(seed)
    shape = (TITLES, MOST_ARTWORKS)
    real = np.arange(MOST_ARTWORKS) < rng.integers(2, MOST_ARTWORKS + 1, size=(TITLES, 1))
    appeal = rng.normal(size=shape)
    return Titles(real, rng.integers(THEMES, size=shape), appeal, 0.9 * appeal + 0.45 * rng.normal(size=shape))


def simulated_log(size: int, log: int, seed: int) -> pa.Table:
    """One log of `size` impressions: size, log, impression and the columns for `policies.policy_rows`.

    Each user has IMPRESSIONS_A_USER impressions on average.
    """
    titles, rng = titles_of(seed), np.random.default_rng([seed, size, log])
    users = max(1, size // IMPRESSIONS_A_USER)
    user, title = rng.integers(users, size=size), rng.integers(TITLES, size=size)
    real, appeal = titles.real[title], titles.appeal[title]
    taste = np.take_along_axis(rng.normal(size=(users, THEMES))[user], titles.theme[title], axis=1)
    level = rng.normal(size=users)[user][:, None]
    true_play = 1 / (1 + np.exp(-(LEVEL + 0.6 * level + 0.8 * taste + 0.6 * appeal)))
    logged = logging_policy(titles.liked[title], real)
    shown = _drawn(logged, rng)
    reward = (rng.random(size) < _of(true_play, shown)).astype(float)
    cells = 3 * np.digitize(appeal, _THIRDS) + np.digitize(taste, _THIRDS)
    blurred = 0.6 * appeal + 0.6 * taste + 0.5 * rng.normal(size=real.shape)
    arrays = {
        "true_play": true_play,
        "logged": logged,
        "popular": _best(appeal, real),
        "personal": _best(blurred, real),
        "q": cross_fitted_rates(user % 2, cells, shown, reward),
    }
    return pa.table(
        {
            "size": np.full(size, size),
            "log": np.full(size, log),
            "impression": np.arange(size),
            "user_id": [f"{size}/{log}/{number}" for number in user],
            "artwork_ids": _lists(np.char.add(np.char.add(title.astype(str), "-")[:, None], _NUMBERS), real),
            "shown": pa.array(shown + 1, pa.int32()),
            "propensity": _of(logged, shown),
            "reward": reward,
            **{name: _lists(values, real) for name, values in arrays.items()},
        }
    )


def logging_policy(liked: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(1 − EXPLORE) softmax(liked) + EXPLORE / K over the artworks that exist."""
    weights = np.where(real, np.exp(liked), 0.0)
    mixed: np.ndarray = (1 - EXPLORE) * weights / weights.sum(1, keepdims=True) + EXPLORE * real / real.sum(
        1, keepdims=True
    )
    return mixed


def cross_fitted_rates(fold: np.ndarray, cells: np.ndarray, shown: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """q̂ by thirds of appeal and of taste: the cell's play rate among the users of the other of two folds.

    Six hundred logistic regressions would take an hour, and the estimators do not depend on the source of q̂.
    """
    place = 9 * fold + _of(cells, shown)
    plays, count = np.bincount(place, reward, minlength=18), np.bincount(place, minlength=18)
    rates: np.ndarray = ((plays + 1) / (count + 3))[9 * (1 - fold)[:, None] + cells]
    return rates


def _drawn(policy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    below = np.cumsum(policy, axis=1) <= rng.random((len(policy), 1))
    # If rounding leaves the total below the random point, draw the last possible artwork.
    last: np.ndarray = np.minimum(below.sum(1), (policy > 0).sum(1) - 1)
    return last


def _of(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    picked: np.ndarray = values[np.arange(len(place)), place]
    return picked


def _best(scores: np.ndarray, real: np.ndarray) -> np.ndarray:
    target = np.zeros(scores.shape)
    target[np.arange(len(scores)), np.where(real, scores, -np.inf).argmax(1)] = 1.0
    return target


def _lists(values: np.ndarray, real: np.ndarray) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(real.sum(1))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values[real]))
