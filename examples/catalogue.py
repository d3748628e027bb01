"""Titles and their artworks, generated from a seed. Each title's rows depend on (seed, title) only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from zlib import crc32

import numpy as np

from examples.vocabulary import (
    CATALOGUE_WEIGHTS,
    STYLE_NAMES,
    THEME_INDEX,
    THEME_NAMES,
    THEMES,
    TONES,
    caption,
)
from schemas.tables import MAX_ARTWORKS

LEADING_SHARE = 0.6
"""Weight of the first of an artwork's two themes, its subject's; the rest is its setting's."""

_OTHER_THEME = 0.3  # share of artworks whose subject has a theme that is not one of the title's own
_SECOND_THEME = 0.4  # share of artworks whose setting has a second theme
_INACTIVE = 0.06  # share of artworks that are withdrawn early or not yet active on the last day


@dataclass(frozen=True)
class Title:
    """One title. `popularity` is the log of how often it is watched, before tastes."""

    title_id: str
    name: str
    release_year: int | None
    genres: tuple[str, ...]
    synopsis: str | None
    popularity: float


@dataclass(frozen=True)
class Artwork:
    """One artwork, with the causes of its plays: themes and style, and an appeal that no caption expresses. `tone` is
    in caption and picture, and no cause.
    """

    artwork_id: str
    title_id: str
    caption: str
    themes: tuple[str, ...]
    tone: str
    style: str
    appeal: float
    is_default: bool
    active_from: date
    active_to: date | None

    def active_on(self, day: date) -> bool:
        return self.active_from <= day and (self.active_to is None or day <= self.active_to)

    def theme_weights(self) -> np.ndarray:
        """Its weight on each theme of THEME_NAMES; they sum to 1."""
        weights = np.zeros(len(THEME_NAMES))
        weights[THEME_INDEX[self.themes[0]]] += LEADING_SHARE
        weights[THEME_INDEX[self.themes[-1]]] += 1 - LEADING_SHARE
        return weights


def generator(seed: int, stream: str, key: str) -> np.random.Generator:
    """Random numbers for one item, such as ("user", "42"), independent of all others with the same seed."""
    return np.random.default_rng([seed, crc32(stream.encode()), crc32(key.encode())])


def make_title(seed: int, title_id: str, flatness: float = 0.5) -> Title:
    """A title of one to four themes. `flatness` 1 draws themes as unevenly as in films, 0 evenly."""
    rng = generator(seed, "title", title_id)
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.4, 0.3, 0.1]))
    weights = CATALOGUE_WEIGHTS**flatness
    drawn = rng.choice(len(THEME_NAMES), size=count, replace=False, p=weights / weights.sum())
    genres = tuple(THEME_NAMES[index] for index in drawn)
    return Title(
        title_id=title_id,
        name=_name(rng),
        release_year=int(2026 - min(90, rng.exponential(14))),
        genres=genres,
        synopsis=_synopsis(genres, rng),
        popularity=float(rng.normal()),
    )


def make_artworks(seed: int, title: Title, first_day: date, last_day: date) -> list[Artwork]:
    """The title's artworks: 1 to 40, most often 4 to 12. The first is the default and always active."""
    rng = generator(seed, "artworks", title.title_id)
    return [_artwork(rng, title, number, first_day, last_day) for number in range(1, _artwork_count(rng) + 1)]


def _artwork_count(rng: np.random.Generator) -> int:
    low, high = [(1, 1), (2, 3), (4, 12), (13, MAX_ARTWORKS)][int(rng.choice(4, p=[0.04, 0.08, 0.82, 0.06]))]
    return int(rng.integers(low, high + 1))


def _artwork(rng: np.random.Generator, title: Title, number: int, first_day: date, last_day: date) -> Artwork:
    themes = _themes(rng, title.genres)
    style = STYLE_NAMES[int(rng.integers(len(STYLE_NAMES)))]
    tone = tuple(TONES)[int(rng.integers(len(TONES)))]
    active_from, active_to = _active(rng, first_day, last_day) if number > 1 else (first_day, None)
    return Artwork(
        artwork_id=f"{title.title_id}-{number}",
        title_id=title.title_id,
        caption=caption(themes, tone, style, rng),
        themes=themes,
        tone=tone,
        style=style,
        appeal=float(rng.normal()),
        is_default=number == 1,
        active_from=active_from,
        active_to=active_to,
    )


def _themes(rng: np.random.Generator, genres: tuple[str, ...]) -> tuple[str, ...]:
    own = genres or THEME_NAMES
    others = [theme for theme in THEME_NAMES if theme not in own] or list(THEME_NAMES)
    leading = (
        others[int(rng.integers(len(others)))] if rng.random() < _OTHER_THEME else own[int(rng.integers(len(own)))]
    )
    second = own[int(rng.integers(len(own)))]
    return (leading, second) if rng.random() < _SECOND_THEME and second != leading else (leading,)


def _active(rng: np.random.Generator, first_day: date, last_day: date) -> tuple[date, date | None]:
    chance = rng.random()
    if chance < _INACTIVE / 2:
        return first_day, first_day + timedelta(days=int(rng.integers((last_day - first_day).days + 1)))
    if chance < _INACTIVE:
        return last_day + timedelta(days=int(rng.integers(1, 30))), None
    return first_day, None


_ADJECTIVES = (
    "Last Silent Broken Golden Hidden Burning Little Crimson Endless Secret Blue Wild Lost Perfect Strange Second "
    "Brave Hollow Distant Midnight Electric Sweet Cold Holy Invisible Paper Savage True Quiet Final"
).split()
_NOUNS = (
    "River House Stranger Promise Garden Shadow Winter Letter Hunter Daughter Empire Harbor Mirror Station Orchard "
    "Storm Kingdom Game Road Heart Island Song Witness Circus Soldier Bride Clock Machine Wolf Summer Angel Family "
    "Ghost Love Night Planet Honor Money Murder Dance King Dog"
).split()
_SYLLABLES = (
    "ka ro mi len dor va shi tel an bri zo que nar fi lo mun est ar ja pel go rin ta bou che sal vik hu dre ox wy ing "
    "ster ton berg i a"
).split()
_FORMS = (
    "The {adjective} {noun}; {noun} of {place}; {person}'s {noun}; {adjective} {noun}; {place}; "
    "{person} & {other}; {noun} in {place}; {adjective} {noun}, The; {place} {number}; "
    "{person}: The {adjective} {noun}; {person}; A {noun} for {person}; {noun} ({word} {word2}); "
    "{number} {noun}s; Mr. {person} Goes to {place}"
).split("; ")


def _name(rng: np.random.Generator) -> str:
    """A name like a film's, of many kinds with invented words, so that a model learns not to rely on names."""

    def pick(words: list[str]) -> str:
        return words[int(rng.integers(len(words)))]

    def made_up() -> str:
        return "".join(pick(_SYLLABLES) for _ in range(int(rng.integers(2, 4)))).capitalize()

    return _FORMS[int(rng.integers(len(_FORMS)))].format(
        adjective=pick(_ADJECTIVES),
        noun=pick(_NOUNS),
        place=made_up(),
        person=made_up(),
        other=made_up(),
        word=made_up(),
        word2=made_up().lower(),
        number=int(rng.integers(2, 120)),
    )


_TURNS = (
    "must face the past; risks everything; finds an unlikely friend; has one night left; learns the truth; "
    "is not what it seems; changes a whole town; cannot turn back; keeps a promise; starts again"
).split("; ")


def _synopsis(genres: tuple[str, ...], rng: np.random.Generator) -> str:
    """One short sentence about the title's first and last themes."""
    subjects, settings = THEMES[genres[0]].subjects, THEMES[genres[-1]].settings
    subject = subjects[int(rng.integers(len(subjects)))]
    setting = settings[int(rng.integers(len(settings)))]
    return f"{setting[0].upper()}{setting[1:]}, {subject} {_TURNS[int(rng.integers(len(_TURNS)))]}."
