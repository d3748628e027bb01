"""The tiny Llama's training data: users with known tastes, and the texts that a night would render for them.

The tiny Llama stands for a pre-trained model: it learns language (themes, styles, play-rate bands as words, and what
viewings say about a taste) and nothing about a service. What a service's logs must teach is drawn anew for each title,
with mean 0: the effect of each style, the artworks' appeal, and the worth of a play-rate band. The expected liking of a
user over these draws is the liking by taste alone, so that is the target (`expected_liking`): the same optimum as with
drawn effects, with less noise.

There are two kinds of service, neither of them a sample's: `simulated` users, whose history follows from their taste,
and `collector` users like MovieLens's, whose taste is computed from a long history of stars. Half of the titles have
play-rate bands (spark_jobs/signals.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from examples.catalogue import Artwork, Title, generator, make_artworks, make_title
from examples.simulated import Shelf, completions, draw_taste, shelf_of, watched
from examples.truth import TASTE, taste_from_shares
from examples.vocabulary import STYLE_NAMES, THEME_NAMES
from schemas.settings import Settings
from schemas.tables import TITLES
from spark_jobs.play_rates import ARTWORK_SPREAD
from spark_jobs.prompts import title_choice_texts, user_context_texts
from spark_jobs.signals import BANDS, EDGES

_START = 1_735_689_600_000_000  # 2025-01-01, in microseconds
_DAY = date(2025, 1, 1)
_STARS = np.array([0.06, 0.11, 0.27, 0.34, 0.22])  # of 1 to 5, as people give them
_LONGEST_HISTORY = 400  # viewings; older ones hardly count towards the leading themes
# Values of the setting `history_titles`, and the share of contexts rendered with each.
_HISTORY_TITLES = ((6, 0.3), (20, 0.6), (40, 0.1))
_ARTWORK_COLUMNS = pa.schema([("title_id", "string"), ("artwork_id", "string"), ("caption", "string")])
CAPTIONED = len(THEME_NAMES) + len(STYLE_NAMES) + len(BANDS)
"""Number of columns that describe an option's text."""
_WITH_BANDS = 0.5  # share of the titles with play-rate bands
_IMPRESSIONS = (3.0, 1.5)  # mean and deviation of the logarithm of an artwork's impressions


@dataclass(frozen=True)
class Choice:
    """One title in one of its rotations. `captioned` (options, CAPTIONED): what the text of each option expresses, as
    theme weights, then 1 for its style, then 1 for its play-rate band, if it has one.
    """

    text: str
    captioned: np.ndarray


@dataclass(frozen=True)
class Texts:
    """Contexts with their users' tastes (contexts, 18), and choices that can follow any of them."""

    contexts: list[str]
    tastes: np.ndarray
    choices: list[Choice]


@dataclass(frozen=True)
class _Collected:
    """One user's taste and viewings. `places` are the titles' indices in the catalogue, oldest viewing first."""

    taste: np.ndarray
    places: np.ndarray
    completion: np.ndarray


def training_texts(spark: SparkSession, users: int, titles: int, seed: int) -> list[Texts]:
    """The texts of both services, half of the users each."""
    return [
        _service_texts(spark, "simulated", users // 2, titles, seed),
        _service_texts(spark, "collector", users // 2, titles, seed + 1),
    ]


def expected_liking(tastes: np.ndarray, captioned: np.ndarray) -> np.ndarray:
    """The expected log-odds of a play over all services, for options `captioned` (…, CAPTIONED) and users of `tastes`
    (…, 18), up to what options share.
    """
    liking: np.ndarray = TASTE * (tastes * captioned[..., : len(THEME_NAMES)]).sum(-1)
    return liking


def _service_texts(spark: SparkSession, kind: str, users: int, title_count: int, seed: int) -> Texts:
    # Collectors' titles are as unevenly spread over themes as films.
    flatness = 1.0 if kind == "collector" else 0.5
    catalogue = [make_title(seed, f"t{number}", flatness) for number in range(title_count)]
    if kind == "collector":
        catalogue = [Title(**{**vars(title), "synopsis": None}) for title in catalogue]
    artworks = [art for title in catalogue for art in make_artworks(seed, title, _DAY, _DAY) if art.active_on(_DAY)]
    one_user = _collector if kind == "collector" else _viewer
    shelf = shelf_of(catalogue)
    seen = {f"u{number}": one_user(shelf, generator(seed, kind, str(number))) for number in range(users)}
    with tempfile.TemporaryDirectory() as scratch:
        bands = _bands(artworks, seed)
        _write(Path(scratch), catalogue, artworks, bands, seen)
        contexts = _contexts(spark, Path(scratch), users)
        choices = _choices(spark, Path(scratch), artworks, bands)
    tastes = np.stack([user.taste for user in seen.values()])
    return Texts([contexts[user_id] for user_id in seen], tastes, choices)


def _bands(artworks: list[Artwork], seed: int) -> dict[str, str]:
    """The play-rate band of each artwork of the titles that have bands; "" for an artwork never shown.

    An artwork's log-odds relative to its title, drawn anew and so independent of its style, are known up to a noise of
    2 / √n after n impressions, half of them played, and shrunk towards 0 for small n, as in spark_jobs/signals.py.
    """
    found = {}
    for title_id, of_title in groupby(artworks, key=lambda artwork: artwork.title_id):
        rng = generator(seed, "bands", title_id)
        if rng.random() >= _WITH_BANDS:
            continue
        listed = list(of_title)
        effects = ARTWORK_SPREAD * rng.normal(size=len(listed))
        shown = np.floor(rng.lognormal(*_IMPRESSIONS, size=len(listed)))
        noise = 2 / np.sqrt(np.maximum(shown, 1)) * rng.normal(size=len(listed))
        drawn = (effects - effects.mean() + noise) * shown / (shown + 4 / ARTWORK_SPREAD**2)
        for artwork, count, place in zip(listed, shown, np.digitize(drawn, EDGES), strict=True):
            found[artwork.artwork_id] = BANDS[place] if count else ""
    return found


def _viewer(shelf: Shelf, rng: np.random.Generator) -> _Collected:
    taste = draw_taste(rng)
    count = int(rng.integers(0, 8)) if rng.random() < 0.1 else 15 + int(rng.gamma(2, 10))
    places = watched(taste, shelf, count, rng)
    return _Collected(taste, places, completions(shelf.genres[places] @ taste, rng))


def _collector(shelf: Shelf, rng: np.random.Generator) -> _Collected:
    leaning = draw_taste(rng) * rng.uniform(0.2, 1.2)
    count = int(np.clip(rng.lognormal(4.3, 0.9), 3, _LONGEST_HISTORY))
    places = watched(leaning, shelf, count, rng)
    completion = rng.choice(np.arange(1, 6) / 5, size=len(places), p=_STARS)
    totals = 1 + completion @ (shelf.genres[places] > 0)
    return _Collected(taste_from_shares(totals / totals.sum()), places, completion)


def _write(
    folder: Path, titles: list[Title], artworks: list[Artwork], bands: dict[str, str], seen: dict[str, _Collected]
) -> None:
    lengths = [len(user.places) for user in seen.values()]
    places = np.concatenate([user.places for user in seen.values()]).astype(int)
    minutes = np.concatenate([np.arange(length) for length in lengths])
    history = pa.table(
        {
            "user_id": np.repeat(list(seen), lengths),
            "title_id": np.array([title.title_id for title in titles])[places],
            "watched_at": pa.array(_START + minutes * 60_000_000, pa.timestamp("us", "UTC")),
            "completion": np.concatenate([user.completion for user in seen.values()]),
        }
    )
    pq.write_table(history, folder / "history.parquet")
    pq.write_table(_rows(TITLES.arrow_schema(), titles), folder / "titles.parquet")
    with_bands = _rows(_ARTWORK_COLUMNS, artworks).append_column(
        "band", pa.array([bands.get(artwork.artwork_id, "") for artwork in artworks])
    )
    pq.write_table(with_bands, folder / "artworks.parquet")


def _rows(schema: pa.Schema, things: Sequence[Title | Artwork]) -> pa.Table:
    return pa.Table.from_pylist([{name: getattr(thing, name) for name in schema.names} for thing in things], schema)


def _contexts(spark: SparkSession, folder: Path, users: int) -> dict[str, str]:
    """The users' contexts, each rendered with one of _HISTORY_TITLES."""
    history = spark.read.parquet(str(folder / "history.parquet"))
    titles = spark.read.parquet(str(folder / "titles.parquet"))
    found: dict[str, str] = {}
    start = 0
    for history_titles, share in _HISTORY_TITLES:
        stop = min(users, start + round(share * users))
        some = spark.createDataFrame([(f"u{number}",) for number in range(start, stop)], "user_id string")
        texts = user_context_texts(
            some, history.join(some, "user_id", how="left_semi"), titles, Settings(history_titles=history_titles)
        )
        found.update((row.user_id, row.context) for row in texts.collect())
        start = stop
    return found


def _choices(spark: SparkSession, folder: Path, artworks: list[Artwork], bands: dict[str, str]) -> list[Choice]:
    """Every title's choices in all rotations, without those of a single option."""
    captioned = {art.artwork_id: described(art, bands.get(art.artwork_id, "")) for art in artworks}
    rows = _choice_rows(spark, folder).sort("title_id", "ordering").collect()
    return [
        Choice(row.choice, np.stack([captioned[artwork_id] for artwork_id in row.artwork_ids]))
        for row in rows
        if len(row.artwork_ids) > 1
    ]


def described(artwork: Artwork, band: str) -> np.ndarray:
    """A row of `Choice.captioned`."""
    named = [name == artwork.style for name in STYLE_NAMES] + [name == band for name in BANDS]
    return np.concatenate([artwork.theme_weights(), np.array(named, dtype=float)])


def _choice_rows(spark: SparkSession, folder: Path) -> DataFrame:
    titles = spark.read.parquet(str(folder / "titles.parquet"))
    return title_choice_texts(titles, spark.read.parquet(str(folder / "artworks.parquet")), Settings())
