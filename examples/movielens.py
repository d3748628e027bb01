"""MovieLens 100K as a sample service: real histories and titles, simulated artworks and plays.

The folder is the data set's own (https://grouplens.org/datasets/movielens/100k/): u.item, u.genre, u.data, latin-1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from examples.catalogue import Title, make_artworks
from examples.impressions import log_impressions
from examples.service import Service, Viewing
from examples.truth import taste_from_shares
from examples.vocabulary import THEME_INDEX, THEME_NAMES
from schemas.contract import ContractError

_FILES = ("u.item", "u.genre", "u.data")
_FIRST_GENRE_COLUMN = 5  # of u.item: id, name, released, video released, address, then one flag per genre
_STARS = 5
_SMOOTHING = 1.0  # viewings added to each theme


def movielens_service(folder: Path, seed: int) -> Service:
    """The service with its impressions, up to the end of the last day with a rating."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ContractError(f"{folder} lacks {', '.join(missing)}: give the folder of MovieLens 100K")
    try:
        viewings = list(_viewings(folder))
        titles = list(_titles(folder, Counter(viewing.title_id for viewing in viewings)))
    except (OSError, ValueError, IndexError) as error:
        raise ContractError(f"{folder} cannot be read as MovieLens 100K: {error}") from error
    if not viewings:
        raise ContractError(f"{folder / 'u.data'} is empty: give the folder of MovieLens 100K")
    first_day = min(viewing.watched_at for viewing in viewings).date()
    last_day = max(viewing.watched_at for viewing in viewings).date()
    artworks = [artwork for title in titles for artwork in make_artworks(seed, title, first_day, last_day)]
    service = Service(titles, artworks, viewings, tastes_from_histories(viewings, titles), first_day, last_day)
    return replace(service, impressions=log_impressions(service, seed))


def tastes_from_histories(viewings: list[Viewing], titles: list[Title]) -> dict[str, np.ndarray]:
    """Each user's taste: the whole history's share of each theme, weighted by completion."""
    themes_of = {title.title_id: [THEME_INDEX[genre] for genre in title.genres] for title in titles}
    totals: dict[str, np.ndarray] = {}
    for viewing in viewings:
        total = totals.setdefault(viewing.user_id, np.full(len(THEME_NAMES), _SMOOTHING))
        total[themes_of[viewing.title_id]] += viewing.completion
    return {user_id: taste_from_shares(totals[user_id] / totals[user_id].sum()) for user_id in sorted(totals, key=int)}


def _viewings(folder: Path) -> Iterator[Viewing]:
    for number, line in enumerate((folder / "u.data").read_text("latin-1").splitlines(), start=1):
        try:
            user_id, title_id, stars, seconds = line.split("\t")
            yield Viewing(user_id, title_id, datetime.fromtimestamp(int(seconds), UTC), int(stars) / _STARS)
        except ValueError as error:
            raise ContractError(
                f"{folder / 'u.data'}, line {number}: {line!r} is not user, title, stars and seconds, separated by "
                "tabs; give the folder of MovieLens 100K"
            ) from error


def _titles(folder: Path, views: Counter[str]) -> Iterator[Title]:
    genres = [line.split("|")[0].lower() for line in (folder / "u.genre").read_text("latin-1").splitlines() if line]
    for line in (folder / "u.item").read_text("latin-1").splitlines():
        fields = line.split("|")
        flags = dict(zip(genres, fields[_FIRST_GENRE_COLUMN:], strict=True))
        name, year = _name_and_year(fields[1])
        yield Title(
            title_id=fields[0],
            name=name,
            release_year=year,
            genres=tuple(genre for genre, flag in flags.items() if flag == "1" and genre in THEME_INDEX),
            synopsis=None,
            popularity=float(np.log1p(views[fields[0]])),
        )


def _name_and_year(text: str) -> tuple[str, int | None]:
    """("Toy Story", 1995) from "Toy Story (1995)"."""
    found = re.fullmatch(r"(.*?)\s*\((\d{4})\)\s*", text)
    return (found[1], int(found[2])) if found else (text, None)
