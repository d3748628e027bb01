"""A sample service's logged impressions: which artwork was shown, with which propensity, and whether it was played.

The logging policy is that of a service before personalisation: with probability EXPLORE any active artwork, else a draw
from a softmax over the artworks' general popularity (style and appeal, known with some noise). A draw holds for the
user's epoch, as in Marquee's own policy (spark_jobs/policy.py): a title that was not played may be shown again on a
later day, in the same epoch by the same draw, in a later epoch by a new one. Plays do not enter the viewing history,
which is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import xxhash

from examples.catalogue import Artwork, Title, generator
from examples.service import Impression, Service, moment
from examples.truth import APPEAL, STYLE, STYLE_EFFECT, Truth, truth_of
from schemas.settings import Settings, settings

EXPLORE = 0.2
SHARPNESS = 1.5  # multiplies the popularity, in log-odds of a play, in the softmax
POPULARITY_NOISE = 0.3  # standard deviation of the noise in the popularity
DAYS = 14
TITLES_A_DAY = 13
SHOWN_AGAIN = 0.3  # share of unplayed impressions that are shown once more, on a later day if there is one


def log_impressions(service: Service, seed: int) -> list[Impression]:
    """Impressions of the last DAYS days: TITLES_A_DAY new titles per day and user, preferably popular ones."""
    truth = truth_of(service.tastes, service.artworks)
    days = min(DAYS, (service.last_day - service.first_day).days + 1)
    pools = _Pools(service, seed)
    return [
        impression
        for user_id in service.tastes
        for impression in _user_impressions(user_id, service.titles, days, pools, truth, seed)
    ]


class _Pools:
    """The active artworks of a title on a day, with the logging policy's probabilities."""

    def __init__(self, service: Service, seed: int) -> None:
        self.last_day = service.last_day
        self._artworks: dict[str, list[Artwork]] = {title.title_id: [] for title in service.titles}
        for artwork in service.artworks:
            self._artworks[artwork.title_id].append(artwork)
        self._popularity = {artwork.artwork_id: _popularity(artwork, seed) for artwork in service.artworks}
        self._known: dict[tuple[str, date], tuple[list[str], np.ndarray]] = {}

    def on(self, title_id: str, day: date) -> tuple[list[str], np.ndarray]:
        if (title_id, day) not in self._known:
            ids = [artwork.artwork_id for artwork in self._artworks[title_id] if artwork.active_on(day)]
            self._known[title_id, day] = ids, logging_policy(np.array([self._popularity[each] for each in ids]))
        return self._known[title_id, day]


def logging_policy(popularity: np.ndarray) -> np.ndarray:
    """(1 − EXPLORE) softmax(SHARPNESS · popularity) + EXPLORE / K."""
    weights = np.exp(SHARPNESS * (popularity - popularity.max(initial=-np.inf)))
    mixed: np.ndarray = (1 - EXPLORE) * weights / weights.sum() + EXPLORE / len(popularity)
    return mixed


def _popularity(artwork: Artwork, seed: int) -> float:
    noise = generator(seed, "popularity", artwork.artwork_id).normal()
    return float(STYLE * STYLE_EFFECT[artwork.style] + APPEAL * artwork.appeal + POPULARITY_NOISE * noise)


def _user_impressions(
    user_id: str, titles: list[Title], days: int, pools: _Pools, truth: Truth, seed: int
) -> Iterator[Impression]:
    rng, later = generator(seed, "impressions", user_id), generator(seed, "shown again", user_id)
    # Taking the largest Gumbel-perturbed log-weights draws without replacement.
    keys = np.array([title.popularity for title in titles]) + rng.gumbel(size=len(titles))
    wanted = np.argsort(-keys, kind="stable")[: days * TITLES_A_DAY]
    for place, index in enumerate(wanted):
        day = pools.last_day - timedelta(days=days - 1 - place % days)
        first = _impression(user_id, titles[index].title_id, day, pools, truth, rng)
        yield first
        if not first.played and day < pools.last_day and later.random() < SHOWN_AGAIN:
            yield _shown_again(first, day, pools, truth, later)


def _impression(
    user_id: str, title_id: str, day: date, pools: _Pools, truth: Truth, rng: np.random.Generator
) -> Impression:
    eligible, policy = pools.on(title_id, day)
    shown = int(rng.choice(len(eligible), p=policy))
    return _shown(user_id, title_id, day, eligible, (eligible[shown], float(policy[shown])), truth, rng)


def _shown_again(first: Impression, day: date, pools: _Pools, truth: Truth, rng: np.random.Generator) -> Impression:
    """The title on a later day: by the same draw if the epoch and the eligible artworks are the same."""
    user_id, title_id, eligible = first.user_id, first.title_id, first.eligible_artwork_ids
    later = day + timedelta(days=int(rng.integers(1, (pools.last_day - day).days + 1)))
    holds = epoch_of(user_id, later, settings()) == epoch_of(user_id, day, settings())
    if holds and pools.on(title_id, later)[0] == eligible:
        return _shown(user_id, title_id, later, eligible, (first.artwork_id, first.propensity), truth, rng)
    return _impression(user_id, title_id, later, pools, truth, rng)


def epoch_of(user_id: str, day: date, configured: Settings) -> int:
    """The number of the user's epoch on a day, as spark_jobs/policy.py computes it with Spark's xxhash64."""
    seed = 42
    for text in (user_id, configured.salt, "epoch"):
        seed = xxhash.xxh64_intdigest(text.encode(), seed)
    signed = seed - 2**64 if seed >= 2**63 else seed
    return ((day - date(1970, 1, 1)).days + signed % configured.epoch_days) // configured.epoch_days


def _shown(
    user_id: str,
    title_id: str,
    day: date,
    eligible: list[str],
    draw: tuple[str, float],
    truth: Truth,
    rng: np.random.Generator,
) -> Impression:
    """The impression of a draw (artwork, propensity), and whether it was played."""
    artwork_id, propensity = draw
    played = bool(rng.random() < truth.play_probabilities(user_id, [artwork_id])[0])
    return Impression(
        user_id=user_id,
        title_id=title_id,
        artwork_id=artwork_id,
        eligible_artwork_ids=eligible,
        propensity=propensity,
        shown_at=moment(day, int(rng.integers(86_400))),
        played=played,
        play_seconds=round(float(rng.gamma(2, 1500)), 1) if played else 0.0,
    )
