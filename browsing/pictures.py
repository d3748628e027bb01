"""Images of artworks: where the browser finds each, and the content of those that are in the warehouse itself.

An address of a page names an artwork, never a file: the file's name is read from the table `artworks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from textwrap import wrap
from typing import Any
from urllib.parse import urlencode

from schemas.files import read_file
from schemas.paths import is_uri
from schemas.store import literal, literals, rows_where
from schemas.tables import ARTWORKS, IMAGES
from serving.lookup import Names, names_of

MEDIA_TYPES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
}
_LINES = 9


@dataclass(frozen=True)
class Picture:
    """An artwork as a page shows it. `src` is the image's address, `drawn` that of a placeholder with the caption."""

    artwork_id: str
    title_id: str
    caption: str
    src: str
    drawn: str
    themes: tuple[str, ...] = ()
    is_default: bool = False
    days: str = ""


@dataclass(frozen=True)
class Catalogue:
    """The names of some titles, and their artworks by id."""

    names: Names
    pictures: dict[str, Picture]

    def title(self, title_id: str) -> str:
        return self.names.titles.get(title_id) or title_id

    def picture(self, artwork_id: str, title_id: str) -> Picture:
        """An artwork, even one that the table `artworks` no longer has."""
        if artwork_id in self.pictures:
            return self.pictures[artwork_id]
        return _picture({"artwork_id": artwork_id, "title_id": title_id}, self.names)

    def of_title(self, title_id: str) -> list[Picture]:
        return [each for each in self.pictures.values() if each.title_id == title_id]


def catalogue_of(warehouse: str, title_ids: Iterable[str]) -> Catalogue:
    wanted = sorted(set(title_ids))
    names = names_of(warehouse, wanted)
    found = rows_where(warehouse, ARTWORKS, f"title_id IN ({literals(wanted)}) ORDER BY artwork_id")
    return Catalogue(names, {row["artwork_id"]: _picture(row, names) for row in found})


def _picture(row: dict[str, Any], names: Names) -> Picture:
    artwork_id, uri = row["artwork_id"], row.get("image_uri") or ""
    drawn = "/image?" + urlencode({"artwork": artwork_id})
    return Picture(
        artwork_id=artwork_id,
        title_id=row["title_id"],
        caption=row.get("caption") or names.captions.get(artwork_id) or "",
        src=uri if uri.startswith(("https://", "http://")) else drawn,
        drawn=drawn,
        themes=tuple(row.get("themes") or ()),
        is_default=bool(row.get("is_default")),
        days=_days(row),
    )


def _days(row: dict[str, Any]) -> str:
    """On which days it may be shown, if not always."""
    first, last = row.get("active_from"), row.get("active_to")
    return f"until {last}" if last else f"from {first}" if first else ""


def image_of(warehouse: str, artwork_id: str) -> tuple[bytes, str] | None:
    """The image of an artwork and its media type, if it is a file of the warehouse's folder `images`."""
    found = rows_where(warehouse, ARTWORKS, f"artwork_id = {literal(artwork_id)} LIMIT 1")
    name = _own_file((found[0].get("image_uri") or "") if found else "")
    if name is None or not _is_inside(warehouse, name):
        return None
    content = read_file(f"{warehouse}/{IMAGES}", name)
    return None if content is None else (content, MEDIA_TYPES[PurePosixPath(name).suffix.lower()])


def _own_file(uri: str) -> str | None:
    """The name of a file in the folder `images`; None for an address that leads anywhere else."""
    folder, separator, name = uri.partition("/")
    plain = folder == IMAGES and separator and name not in ("", ".", "..") and not set(name) & set("/\\\0")
    return name if plain and PurePosixPath(name).suffix.lower() in MEDIA_TYPES else None


def _is_inside(warehouse: str, name: str) -> bool:
    """Whether a file of a folder is in it, links followed."""
    if is_uri(warehouse):
        return True
    folder = Path(warehouse, IMAGES).resolve()
    return (folder / name).resolve().parent == folder


def placeholder(warehouse: str, artwork_id: str) -> str:
    """An SVG with an artwork's caption, or its id if the artwork is unknown, 200 × 300."""
    found = rows_where(warehouse, ARTWORKS, f"artwork_id = {literal(artwork_id)} LIMIT 1")
    text = (found[0].get("caption") if found else None) or artwork_id
    lines = "".join(
        f'<text x="100" y="{112 + 19 * number}">{escape(line)}</text>'
        for number, line in enumerate(wrap(text, 20)[:_LINES])
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 300" width="400" height="600">'
        '<path d="M0 0h200v300H0z" fill="#3b444d"/><path d="M12 12h176v276H12z" fill="none" stroke="#8d99a5" '
        'stroke-dasharray="6 6"/><path d="M76 46h48v36H76zm6 30 12-15 9 9 7-7 8 13z" fill="#8d99a5" '
        'fill-rule="evenodd"/><g fill="#eef1f4" font-family="sans-serif" font-size="15" text-anchor="middle">'
        f"{lines}</g></svg>"
    )
