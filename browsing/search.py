"""Finds users by their id, titles and artworks by id or words."""

from __future__ import annotations

from dataclasses import dataclass

from browsing.pictures import Picture, catalogue_of
from schemas.store import NoTableError, literal, open_table, rows
from schemas.tables import ARTWORKS, CATALOGUE_NAMES
from serving.selections import Selections

_MOST = 24


@dataclass(frozen=True)
class Found:
    """`user_id` if a user of that id has choices; titles as id and name."""

    user_id: str | None
    titles: list[tuple[str, str]]
    artworks: list[Picture]


def search(warehouse: str, words: str) -> Found:
    """Ids must match wholly; names and captions contain the words, in any case."""
    has_choices = bool(Selections.of(warehouse).of_user(words))
    named = open_table(warehouse, CATALOGUE_NAMES)
    has = f"strpos(lower({{}}), lower({literal(words)})) > 0"
    titles = rows(
        f"SELECT title_id FROM named WHERE title_id = {literal(words)} OR {has.format('name')} "
        f"ORDER BY title_id <> {literal(words)}, name LIMIT {_MOST}",
        named=named,
    )
    artworks = _artworks(warehouse, f"artwork_id = {literal(words)} OR {has.format('caption')}", words)
    ids = [row["title_id"] for row in titles]
    catalogue = catalogue_of(warehouse, {*ids, *(title_id for _, title_id in artworks)})
    return Found(
        words if has_choices else None,
        [(each, catalogue.title(each)) for each in ids],
        [catalogue.picture(*each) for each in artworks],
    )


def _artworks(warehouse: str, condition: str, words: str) -> list[tuple[str, str]]:
    try:
        artworks = open_table(warehouse, ARTWORKS)
    except NoTableError:
        return []
    found = rows(
        f"SELECT artwork_id, title_id FROM artworks WHERE {condition} "
        f"ORDER BY artwork_id <> {literal(words)}, artwork_id LIMIT {_MOST}",
        artworks=artworks,
    )
    return [(row["artwork_id"], row["title_id"]) for row in found]
