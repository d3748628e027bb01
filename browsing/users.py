"""What a user sees: the latest titles watched, and the row of titles with the artwork chosen for each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from browsing.pictures import Picture, catalogue_of
from schemas.buckets import bucket_of
from schemas.prompt import Context, Viewing
from schemas.settings import Settings
from schemas.store import NoTableError, literal, open_table, rows, rows_where
from schemas.tables import USER_CONTEXTS, VIEWING_HISTORY, WANTED_PAIRS
from serving.explain import Explanation, explanation
from serving.lookup import example_user, names_of
from serving.selections import Selections

# Without a context, viewings of so many days are looked through, and so many of them shown.
_DAYS, _VIEWINGS = 28, 20


@dataclass(frozen=True)
class Chosen:
    """One title of a user's row."""

    title_id: str
    title: str
    picture: Picture
    source: str
    probability: float
    propensity: float
    explored: bool
    ds: date


@dataclass(frozen=True)
class UserPage:
    """`context` is what the model read last; None if no kept night asked it about this user, and `viewings` are then
    the latest in the table of viewings.
    """

    user_id: str
    context: Context | None
    context_ds: date | None
    viewings: tuple[Viewing, ...]
    row: list[Chosen]


def user_page(warehouse: str, user_id: str) -> UserPage:
    selections = Selections.of(warehouse)
    choices = selections.of_user(user_id)
    catalogue = catalogue_of(warehouse, [choice["title_id"] for choice in choices])
    place = {title_id: n for n, title_id in enumerate(_wanted(warehouse, user_id, selections.buckets))}
    choices.sort(key=lambda choice: (place.get(choice["title_id"], len(place)), choice["title_id"]))
    bucket = bucket_of(user_id, selections.buckets)
    asked = rows_where(
        warehouse, USER_CONTEXTS, f"bucket = {bucket} AND user_id = {literal(user_id)} ORDER BY ds DESC LIMIT 1"
    )
    context = Context.parse(asked[0]["context"]) if asked else None
    return UserPage(
        user_id=user_id,
        context=context,
        context_ds=asked[0]["ds"] if asked else None,
        viewings=context.viewings if context else _latest_viewings(warehouse, user_id),
        row=[
            Chosen(
                title_id=choice["title_id"],
                title=catalogue.title(choice["title_id"]),
                picture=catalogue.picture(choice["artwork_id"], choice["title_id"]),
                source=choice["source"],
                probability=choice["probability"],
                propensity=choice["propensity"],
                explored=choice["artwork_id"] != choice["ranking"][0]["artwork_id"],
                ds=choice["ds"],
            )
            for choice in choices
        ],
    )


def _wanted(warehouse: str, user_id: str, buckets: int) -> list[str]:
    """The user's titles in the order of the latest night that wanted any."""
    condition = f"bucket = {bucket_of(user_id, buckets)} AND user_id = {literal(user_id)} ORDER BY ds DESC LIMIT 1"
    found = rows_where(warehouse, WANTED_PAIRS, condition)
    return list(found[0]["title_ids"]) if found else []


def _latest_viewings(warehouse: str, user_id: str) -> tuple[Viewing, ...]:
    try:
        history = open_table(warehouse, VIEWING_HISTORY)
    except NoTableError:
        return ()
    days = [day for each in history.partitions() if (day := each["watch_date"]) is not None]
    if not days:
        return ()
    since = date.fromisoformat(str(max(days))) - timedelta(days=_DAYS)
    found = rows(
        "SELECT title_id FROM history "
        f"WHERE watch_date > DATE '{since}' AND user_id = {literal(user_id)} "
        f"ORDER BY watched_at DESC LIMIT {_VIEWINGS}",
        history=history,
    )
    names = names_of(warehouse, [each["title_id"] for each in found]).titles
    return tuple(Viewing(names.get(each["title_id"], each["title_id"])) for each in found)


@dataclass(frozen=True)
class PairPage:
    """Why a user sees an artwork: `found` is what `marquee explain` knows; `default` is what others see."""

    found: Explanation
    title: str
    pictures: dict[str, Picture]
    default: Picture | None
    context: Context | None


def pair_page(settings: Settings, user_id: str, title_id: str, ds: date | None) -> PairPage:
    """Raises ContractError if there is no choice."""
    found = explanation(settings, user_id, title_id, ds)
    catalogue = catalogue_of(settings.warehouse, [title_id])
    default = Selections.of(settings.warehouse).default(title_id)
    artworks = {option["artwork_id"] for option in found["options"]}
    artworks |= {row["artwork_id"] for row in found["history"] if row["artwork_id"]}
    question = found["question"]
    return PairPage(
        found=found,
        title=catalogue.title(title_id),
        pictures={artwork_id: catalogue.picture(artwork_id, title_id) for artwork_id in artworks},
        default=None if default is None else catalogue.picture(default, title_id),
        context=Context.parse(question["context"]) if question else None,
    )


def some_user(warehouse: str) -> str | None:
    """A user to begin with; None if nobody has a choice yet."""
    try:
        return example_user(Selections.of(warehouse))
    except NoTableError:
        return None
