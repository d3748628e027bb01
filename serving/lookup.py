"""The artworks that a user should see, as a table for people (`marquee lookup`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from schemas.buckets import bucket_of
from schemas.store import literals, rows_where
from schemas.tables import CATALOGUE_NAMES
from serving.selections import Selections

EXAMPLE_USER = "42"


@dataclass(frozen=True)
class Names:
    """Names of titles and captions of artworks, by id."""

    titles: dict[str, str]
    captions: dict[str, str]


def names_of(warehouse: str, title_ids: Iterable[str]) -> Names:
    """The names of titles and of their artworks; empty if no night has written them yet."""
    found = rows_where(warehouse, CATALOGUE_NAMES, f"title_id IN ({literals(title_ids)})")
    return Names(
        {t["title_id"]: f"{t['name']} ({t['release_year']})" if t["release_year"] else t["name"] for t in found},
        {each["artwork_id"]: each["caption"] for title in found for each in title["captions"]},
    )


def choices_of(selections: Selections, user_id: str, title_id: str | None) -> list[dict[str, Any]]:
    """A user's choices, or only the one for a title; if there is none, the title's default."""
    if title_id is None:
        return selections.of_user(user_id)
    if choice := selections.of_pair(user_id, title_id):
        return [choice]
    if artwork_id := selections.default(title_id):
        return [{"title_id": title_id, "artwork_id": artwork_id, "source": "title_defaults"}]
    return []


def choices_table(choices: list[dict[str, Any]], names: Names, heading: str) -> Table:
    # Names, captions and ids come from others: square brackets in them are no markup.
    table = Table(
        title=escape(heading),
        title_justify="left",
        caption="probability: the model's. propensity: with which the artwork was drawn; some draws explore.",
        caption_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for column in ("title", "name", "artwork", "caption", "probability", "propensity", "source", "night"):
        table.add_column(column, justify="right" if column.startswith("prop") or column == "probability" else "left")
    for choice in choices:
        table.add_row(
            escape(choice["title_id"]),
            escape(names.titles.get(choice["title_id"], "")),
            escape(choice["artwork_id"]),
            escape(names.captions.get(choice["artwork_id"], "")),
            *(f"{choice[share]:.3f}" if share in choice else "" for share in ("probability", "propensity")),
            choice["source"],
            str(choice.get("ds", "")),
        )
    return table


def heading_of(user_id: str, title_id: str | None, choices: list[dict[str, Any]], bucket: int) -> str:
    if not choices:
        if title_id is None:
            return f"User {user_id}: no night has chosen anything for this user, who sees the titles' defaults"
        return f"User {user_id}: title {title_id} has no choice and no default: it is unknown or has no active artwork"
    if choices[0]["source"] == "title_defaults":
        return f"User {user_id} has no choice of their own for this title; its default is shown"
    return f"User {user_id} (bucket {bucket}) should see"


def example_user(selections: Selections) -> str | None:
    """User 42, or the first by id; None if nobody has a choice yet."""
    return EXAMPLE_USER if selections.of_user(EXAMPLE_USER) else selections.some_user()


def lookup_table(warehouse: str, user_id: str | None, title_id: str | None) -> Table | Text:
    selections = Selections.of(warehouse)
    if user_id is None:
        user_id = example_user(selections) or EXAMPLE_USER
    choices = choices_of(selections, user_id, title_id)
    names = names_of(warehouse, {choice["title_id"] for choice in choices})
    heading = heading_of(user_id, title_id, choices, bucket_of(user_id, selections.buckets))
    return choices_table(choices, names, heading) if choices else Text(heading)
