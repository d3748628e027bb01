"""The simulated service: users with tastes who watch generated titles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from examples.catalogue import Title, generator, make_artworks, make_title
from examples.impressions import log_impressions
from examples.service import Service, Viewing, moment
from examples.truth import taste_from_shares
from examples.vocabulary import CATALOGUE_WEIGHTS, THEME_INDEX, THEME_NAMES

LAST_DAY = date(2026, 1, 14)

_TASTE_CONCENTRATION = 8.0  # of the Dirichlet over 18 themes: most users like three to six of them
_TASTE_PULL = 1.3  # weight of taste in what is watched, against a popularity of standard deviation 1
_NEW_USERS = 0.05  # share of users with one to five viewings


def simulated_service(users: int, titles: int, days: int, seed: int, last_day: date = LAST_DAY) -> Service:
    """The service with its impressions, up to the end of `last_day`."""
    first_day = last_day - timedelta(days=days - 1)
    catalogue = [make_title(seed, str(number)) for number in range(1, titles + 1)]
    artworks = [artwork for title in catalogue for artwork in make_artworks(seed, title, first_day, last_day)]
    tastes = {str(number): draw_taste(generator(seed, "taste", str(number))) for number in range(1, users + 1)}
    shelf = shelf_of(catalogue)
    viewings = [
        viewing
        for user_id, taste in tastes.items()
        for viewing in _history(user_id, taste, catalogue, shelf, first_day, days, generator(seed, "history", user_id))
    ]
    service = Service(catalogue, artworks, viewings, tastes, first_day, last_day)
    return replace(service, impressions=log_impressions(service, seed))


def draw_taste(rng: np.random.Generator) -> np.ndarray:
    """18 numbers with mean 0 and standard deviation 1; common themes are liked somewhat more often."""
    weights = np.sqrt(CATALOGUE_WEIGHTS)
    return taste_from_shares(rng.dirichlet(_TASTE_CONCENTRATION * weights / weights.sum()))


@dataclass(frozen=True)
class Shelf:
    """A catalogue as numbers. `genres` (titles, 18): each title's weight on each theme; `popularity` (titles,)."""

    genres: np.ndarray
    popularity: np.ndarray


def shelf_of(titles: list[Title]) -> Shelf:
    genres = np.zeros((len(titles), len(THEME_NAMES)))
    for row, title in enumerate(titles):
        genres[row, [THEME_INDEX[genre] for genre in title.genres]] = 1 / len(title.genres)
    return Shelf(genres, np.array([title.popularity for title in titles]))


def watched(taste: np.ndarray, shelf: Shelf, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `count` different titles, drawn by popularity and taste."""
    # Taking the largest Gumbel-perturbed log-weights draws without replacement.
    keys = shelf.popularity + _TASTE_PULL * (shelf.genres @ taste) + rng.gumbel(size=len(shelf.popularity))
    return rng.permutation(np.argsort(-keys, kind="stable")[:count])


def completions(match: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shares watched, larger for a better match; about a quarter leave early."""
    logits = 0.9 + 0.8 * match + rng.normal(size=len(match))
    return np.round(1 / (1 + np.exp(-logits)), 2)


def _history(
    user_id: str,
    taste: np.ndarray,
    titles: list[Title],
    shelf: Shelf,
    first_day: date,
    days: int,
    rng: np.random.Generator,
) -> Iterator[Viewing]:
    new = rng.random() < _NEW_USERS
    wanted = int(rng.integers(1, 6)) if new else 22 + int(rng.gamma(2, 0.6 * days))
    places = watched(taste, shelf, min(wanted, max(1, len(titles) // 2)), rng)
    completion = completions(shelf.genres[places] @ taste, rng)
    # One viewing in each of equal intervals, so that a user watches throughout and every day has viewings.
    starts = (np.arange(len(places)) + rng.random(len(places))) / len(places) * days
    for place, share, start in zip(places, completion, starts, strict=True):
        day = first_day + timedelta(days=int(start))
        yield Viewing(user_id, titles[place].title_id, moment(day, start % 1 * 86_400), float(share))
