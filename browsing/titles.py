"""What users see of a title: each artwork's share of them, what the model likes, and what is played."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from typing import Any

from deltalake import DeltaTable

from browsing.pictures import Catalogue, Picture, catalogue_of
from schemas.prompt import leading_theme
from schemas.store import NoTableError, literal, open_table, rows, rows_where
from schemas.tables import ARTWORK_SELECTIONS, IMPRESSIONS, TITLE_DEFAULTS, TITLES, USER_CONTEXTS

# Whole buckets are read until they hold so many selections. A bucket is a random sample of users, as it is a hash, so a
# page takes as long for millions of users as for thousands. Of impressions the latest days are read.
_SHOWN_OF, _LIKED_OF, _PLAYED_OF = 2_000_000, 250_000, 500_000
# Most days of contexts and of impressions.
_DAYS = 28
_THEMES = 8


@dataclass(frozen=True)
class Rate:
    """A play rate with its 95 % interval, from the first impressions of so many draws."""

    rate: float
    low: float
    high: float
    draws: int


@dataclass(frozen=True)
class Shown:
    """One artwork of a title. Shares are of the users with a choice for it; `liked` is the model's mean probability."""

    picture: Picture
    users: int
    share: float
    liked: float | None
    played: Rate | None


@dataclass(frozen=True)
class TitlePage:
    """`by_theme`: leading theme, its users, and each artwork's share of them, in the order of `artworks`."""

    title_id: str
    title: str
    genres: tuple[str, ...]
    synopsis: str | None
    default: Picture | None
    users: int
    is_sample: bool
    artworks: list[Shown]
    by_theme: list[tuple[str, int, list[float]]]
    theme_users: int


def title_page(warehouse: str, title_id: str) -> TitlePage | None:
    """None for an unknown title."""
    catalogue = catalogue_of(warehouse, [title_id])
    about = next(iter(rows_where(warehouse, TITLES, f"title_id = {literal(title_id)} LIMIT 1")), None)
    if about is None and title_id not in catalogue.names.titles and not catalogue.pictures:
        return None
    selections = open_table(warehouse, ARTWORK_SELECTIONS)
    buckets, is_sample = _buckets(selections, _SHOWN_OF)
    few, _ = _buckets(selections, _LIKED_OF)
    with ThreadPoolExecutor() as pool:
        counting = pool.submit(_counts, selections, title_id, buckets)
        liking = pool.submit(_liked, selections, title_id, few)
        playing = pool.submit(_play_rates, warehouse, title_id)
        counting_themes = pool.submit(_by_theme, warehouse, selections, title_id, few)
        default = next(iter(rows_where(warehouse, TITLE_DEFAULTS, f"title_id = {literal(title_id)}")), None)
        counts, themes = counting.result(), counting_themes.result()
        artworks = _shown(catalogue, title_id, counts, liking.result(), playing.result())
    order = [each.picture.artwork_id for each in artworks]
    return TitlePage(
        title_id=title_id,
        title=catalogue.title(title_id),
        genres=tuple(about.get("genres") or ()) if about else (),
        synopsis=about.get("synopsis") if about else None,
        default=catalogue.picture(default["artwork_id"], title_id) if default else None,
        users=sum(counts.values()),
        is_sample=is_sample,
        artworks=artworks,
        by_theme=[
            (theme, sum(of.values()), [of.get(each, 0) / sum(of.values()) for each in order]) for theme, of in themes
        ][:_THEMES],
        theme_users=sum(sum(of.values()) for _, of in themes),
    )


def _shown(
    catalogue: Catalogue,
    title_id: str,
    counts: dict[str, int],
    liked: dict[str, float],
    played: dict[str, Rate],
) -> list[Shown]:
    """Every artwork, the one that most users see first."""
    ids = {each.artwork_id for each in catalogue.of_title(title_id)} | set(counts)
    total = sum(counts.values())
    found = [
        Shown(
            catalogue.picture(each, title_id),
            counts.get(each, 0),
            counts.get(each, 0) / total if total else 0.0,
            liked.get(each),
            played.get(each),
        )
        for each in ids
    ]
    return sorted(found, key=lambda each: (-each.users, each.picture.artwork_id))


def _buckets(selections: DeltaTable, most: int) -> tuple[str, bool]:
    """SQL for buckets that together hold about `most` rows, and whether some are left out."""
    held = _rows_by(selections, "bucket")
    taken = _until(sorted(held.items()), most)
    return ", ".join(map(str, taken)) or "NULL", len(taken) < len(held)


def _latest_days(table: DeltaTable, most: int) -> str:
    """SQL for the latest days that together hold about `most` rows, at most _DAYS."""
    days = _until(sorted(_rows_by(table, "ds").items(), reverse=True)[:_DAYS], most)
    return ", ".join(f"DATE '{day}'" for day in days) or "NULL"


def _rows_by(table: DeltaTable, column: str) -> dict[Any, int]:
    """The rows of each partition, by the table's log alone."""
    import pyarrow as pa

    held: dict[Any, int] = defaultdict(int)
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        if (value := file.get(f"partition.{column}")) is not None:
            held[value] += file["num_records"] or 0
    return held


def _until(held: list[tuple[Any, int]], most: int) -> list[Any]:
    """The first values, until their rows would be more than `most`; at least one."""
    taken: list[Any] = []
    total = 0
    for value, number in held:
        total += number
        if taken and total > most:
            break
        taken.append(value)
    return taken


def _counts(selections: DeltaTable, title_id: str, buckets: str) -> dict[str, int]:
    """The number of users who see each artwork."""
    found = rows(
        "SELECT artwork_id, count(*) AS users FROM selections "
        f"WHERE bucket IN ({buckets}) AND title_id = {literal(title_id)} GROUP BY artwork_id",
        selections=selections,
    )
    return {row["artwork_id"]: row["users"] for row in found}


def _liked(selections: DeltaTable, title_id: str, buckets: str) -> dict[str, float]:
    """The model's mean probability of each artwork, over the pairs that it scored."""
    found = rows(
        "SELECT option['artwork_id'] AS artwork_id, avg(option['probability']) AS liked "
        "FROM (SELECT unnest(ranking) AS option FROM selections "
        f"WHERE bucket IN ({buckets}) AND title_id = {literal(title_id)} AND source = 'model') "
        "GROUP BY option['artwork_id']",
        selections=selections,
    )
    return {row["artwork_id"]: row["liked"] for row in found}


def _by_theme(warehouse: str, selections: DeltaTable, title_id: str, buckets: str) -> list[tuple[str, dict[str, int]]]:
    """Leading themes of users, the commonest first, with the number of users who see each artwork."""
    try:
        contexts = open_table(warehouse, USER_CONTEXTS)
    except NoTableError:
        return []
    found = rows(
        "SELECT theme, artwork_id, count(*) AS users FROM (SELECT user_id, "
        f"last_value({leading_theme('context')} ORDER BY ds) AS theme FROM contexts "
        f"WHERE {_recent(contexts)} AND bucket IN ({buckets}) GROUP BY user_id) AS asked "
        "JOIN (SELECT user_id, artwork_id FROM selections "
        f"WHERE bucket IN ({buckets}) AND title_id = {literal(title_id)}) AS chosen USING (user_id) "
        "GROUP BY theme, artwork_id",
        contexts=contexts,
        selections=selections,
    )
    themes: dict[str, dict[str, int]] = defaultdict(dict)
    for row in found:
        themes[row["theme"]][row["artwork_id"]] = row["users"]
    return sorted(themes.items(), key=lambda each: (-sum(each[1].values()), each[0]))


def _play_rates(warehouse: str, title_id: str) -> dict[str, Rate]:
    """Of the impressions that serving logged: the first of each draw, weighed by 1 / propensity, so that a rate is that
    of all users and not of those for whom the artwork was chosen.
    """
    try:
        impressions = open_table(warehouse, IMPRESSIONS)
    except NoTableError:
        return {}
    found = rows(
        "SELECT artwork_id, count(*) AS draws, sum(weight) AS weights, sum(weight * weight) AS squares, "
        "sum(weight * CASE WHEN played THEN 1 ELSE 0 END) AS plays FROM (SELECT artwork_id, 1 / propensity AS weight, "
        "first_value(played ORDER BY shown_at) AS played FROM impressions "
        f"WHERE ds IN ({_latest_days(impressions, _PLAYED_OF)}) AND title_id = {literal(title_id)} AND propensity > 0 "
        "GROUP BY user_id, artwork_id, propensity) GROUP BY artwork_id",
        impressions=impressions,
    )
    return {row["artwork_id"]: _rate(row) for row in found}


def _rate(row: dict[str, Any]) -> Rate:
    rate, size = row["plays"] / row["weights"], row["weights"] ** 2 / row["squares"]
    low, high = wilson(rate, size)
    return Rate(rate, low, high, row["draws"])


def wilson(rate: float, size: float) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a rate seen in a sample of `size`."""
    z = 1.96
    middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    return max(0.0, middle - half), min(1.0, middle + half)


def _recent(contexts: DeltaTable) -> str:
    """SQL for the latest days of contexts."""
    days = [date.fromisoformat(str(day)) for each in contexts.partitions() if (day := each["ds"]) is not None]
    return f"ds > DATE '{max(days) - timedelta(days=_DAYS)}'" if days else "false"
