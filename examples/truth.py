"""The truth of a sample service, its users' play probabilities, which only an evaluation may read.

    P(play) = sigmoid(BASE + TASTE · taste·themes + STYLE · style + APPEAL · appeal)

taste is 18 numbers with mean 0 and standard deviation 1 within the user, themes the artwork's 18 theme weights, which
sum to 1; style and appeal (mean 0, standard deviation 1 over artworks) affect all users alike. Captions express themes
and style, but not appeal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from examples.catalogue import Artwork
from examples.vocabulary import STYLE_NAMES, STYLES
from schemas.contract import ContractError
from schemas.files import has_file, read_file, write_file

BASE = -0.55
TASTE = 1.0
STYLE = 0.35
APPEAL = 0.35

FOLDER = "truth"
"""Folder beside the tables in the warehouse. Only an evaluation may read it."""
USERS, ARTWORKS = f"{FOLDER}/users.parquet", f"{FOLDER}/artworks.parquet"

_EFFECTS = np.array([STYLES[name].effect for name in STYLE_NAMES])
STYLE_EFFECT = dict(zip(STYLE_NAMES, (_EFFECTS - _EFFECTS.mean()) / _EFFECTS.std(), strict=True))


def taste_from_shares(shares: np.ndarray) -> np.ndarray:
    """A user's taste, from shares of viewing per theme (…, 18): their square roots, centred and scaled.

    Without the roots, one common theme such as drama would be nearly everyone's whole taste.
    """
    roots = np.sqrt(shares)
    centred = roots - roots.mean(axis=-1, keepdims=True)
    scale = centred.std(axis=-1, keepdims=True)
    taste: np.ndarray = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0)
    return taste


def play_logit(taste_match: np.ndarray, style: np.ndarray, appeal: np.ndarray) -> np.ndarray:
    """Log-odds of a play; `taste_match` is taste · theme weights."""
    logit: np.ndarray = BASE + TASTE * taste_match + STYLE * style + APPEAL * appeal
    return logit


def play_probability(taste_match: np.ndarray, style: np.ndarray, appeal: np.ndarray) -> np.ndarray:
    """The probability that a user plays from an artwork."""
    probability: np.ndarray = 1 / (1 + np.exp(-play_logit(taste_match, style, appeal)))
    return probability


@dataclass(frozen=True)
class Truth:
    """The truth of one warehouse as arrays, with the row of each id: tastes (users, 18), themes (artworks, 18)."""

    user_row: dict[str, int]
    tastes: np.ndarray
    artwork_row: dict[str, int]
    themes: np.ndarray
    style: np.ndarray
    appeal: np.ndarray

    def play_probabilities(self, user_id: str, artwork_ids: list[str]) -> np.ndarray:
        """P(play) for each of `artwork_ids` if shown to the user, (artworks,)."""
        rows = [self.artwork_row[artwork_id] for artwork_id in artwork_ids]
        match = self.themes[rows] @ self.tastes[self.user_row[user_id]]
        return play_probability(match, self.style[rows], self.appeal[rows])


def truth_of(tastes: dict[str, np.ndarray], artworks: list[Artwork]) -> Truth:
    return Truth(
        user_row={user_id: row for row, user_id in enumerate(tastes)},
        tastes=np.stack(list(tastes.values())),
        artwork_row={artwork.artwork_id: row for row, artwork in enumerate(artworks)},
        themes=np.stack([artwork.theme_weights() for artwork in artworks]),
        style=np.array([STYLE_EFFECT[artwork.style] for artwork in artworks]),
        appeal=np.array([artwork.appeal for artwork in artworks]),
    )


def write_truth(truth: Truth, warehouse: str | Path) -> None:
    users = pa.table({"user_id": list(truth.user_row), "taste": truth.tastes.tolist()})
    artworks = pa.table(
        {
            "artwork_id": list(truth.artwork_row),
            "theme_weights": truth.themes.tolist(),
            "style_effect": truth.style,
            "appeal": truth.appeal,
        }
    )
    for file, table in ((USERS, users), (ARTWORKS, artworks)):
        written = pa.BufferOutputStream()
        pq.write_table(table, written)
        write_file(warehouse, file, written.getvalue().to_pybytes())


def has_truth(warehouse: str | Path) -> bool:
    return has_file(warehouse, USERS)


def read_truth(warehouse: str | Path) -> Truth:
    """The truth of a sample. Raises ContractError if the warehouse is no sample's."""
    users, artworks = (_read(warehouse, file) for file in (USERS, ARTWORKS))
    return Truth(
        user_row={user_id: row for row, user_id in enumerate(users["user_id"])},
        tastes=np.array(users["taste"]),
        artwork_row={artwork_id: row for row, artwork_id in enumerate(artworks["artwork_id"])},
        themes=np.array(artworks["theme_weights"]),
        style=np.array(artworks["style_effect"]),
        appeal=np.array(artworks["appeal"]),
    )


def _read(warehouse: str | Path, file: str) -> dict[str, Any]:
    content = read_file(warehouse, file)
    if content is None:
        raise ContractError(f"{warehouse}/{file}: there is no truth here; only a sample service has one")
    found: dict[str, Any] = pq.read_table(pa.BufferReader(content)).to_pydict()
    return found
