"""A sample service: its input tables, its artworks' images, its truth, and how they are written to a warehouse."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from examples.catalogue import Artwork, Title
from examples.posters import poster
from examples.truth import truth_of, write_truth
from schemas.contract import ContractError, Table
from schemas.files import check_conditions, names_below, remove, write_file, write_files
from schemas.paths import is_uri
from schemas.store import location
from schemas.tables import ARTWORKS, IMAGES, IMPRESSIONS, TITLES, VIEWING_HISTORY

PART = ".marquee-part"
"""Object beside tables in a store as long as they are being written."""
# Characters of a folder's name that its temporary name keeps, so that the temporary name is not too long.
_PART_NAME = 50


@dataclass(frozen=True)
class Viewing:
    """One viewing of a title by a user."""

    user_id: str
    title_id: str
    watched_at: datetime
    completion: float


@dataclass(frozen=True)
class Impression:
    """One artwork shown to a user."""

    user_id: str
    title_id: str
    artwork_id: str
    eligible_artwork_ids: list[str]
    propensity: float
    shown_at: datetime
    played: bool
    play_seconds: float


@dataclass(frozen=True)
class Service:
    """A service up to the end of its last day. `tastes` has 18 numbers for each user."""

    titles: list[Title]
    artworks: list[Artwork]
    viewings: list[Viewing]
    tastes: dict[str, np.ndarray]
    first_day: date
    last_day: date
    impressions: list[Impression] = field(default_factory=list)


def moment(day: date, seconds: float) -> datetime:
    """`seconds` after the day's midnight, UTC, to the second."""
    return datetime.combine(day, time(), tzinfo=UTC) + timedelta(seconds=int(seconds))


def input_tables(service: Service) -> list[tuple[Table, pa.Table]]:
    """The four input tables with the contract's columns and types."""
    return [
        (VIEWING_HISTORY, _arrow(VIEWING_HISTORY, map(_viewing_row, service.viewings))),
        (TITLES, _arrow(TITLES, map(_title_row, service.titles))),
        (ARTWORKS, _arrow(ARTWORKS, map(_artwork_row, service.artworks))),
        (IMPRESSIONS, _arrow(IMPRESSIONS, map(_impression_row, service.impressions))),
    ]


def write_service(service: Service, warehouse: str | Path) -> dict[str, int]:
    """Write the input tables, the images and the truth to a new warehouse, or nothing; return the rows per table."""
    check_is_new(str(warehouse))
    if is_uri(str(warehouse)):
        return _write_to_store(service, str(warehouse))
    return _write_folder(service, Path(warehouse))


def _write_to_store(service: Service, warehouse: str) -> dict[str, int]:
    # A store renames nothing: a mark says that the tables are not complete, and the next run removes them.
    check_conditions(warehouse)
    write_file(warehouse, PART, b"")
    rows = _write(service, warehouse)
    remove(warehouse, [PART])
    return rows


def _write_folder(service: Service, warehouse: Path) -> dict[str, int]:
    # Renamed when complete, so that a killed run leaves no half-filled warehouse; the next run removes its part.
    part = warehouse.with_name(f".{warehouse.name[:_PART_NAME]}.marquee-part")
    made = [folder for folder in part.parents if not folder.exists()]
    try:
        _remove(part)
        part.mkdir(parents=True)
        rows = _write(service, str(part))
        if warehouse.exists():
            warehouse.rmdir()
        part.rename(warehouse)
    except (OSError, DeltaError) as error:
        raise ContractError(f"{warehouse} cannot be written: {error}; give another --warehouse") from error
    finally:
        _remove(part)
        if not warehouse.exists():
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
    return rows


def _remove(folder: Path) -> None:
    """Remove a folder that threads of delta-rs may still write to for a moment after an error."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        sleep(0.1)


def _write(service: Service, warehouse: str) -> dict[str, int]:
    rows = {}
    for table, content in input_tables(service):
        write_deltalake(location(warehouse, table), content, partition_by=list(table.partitioned_by) or None)
        rows[table.name] = content.num_rows
    names = {title.title_id: title.name for title in service.titles}
    write_files(
        warehouse,
        ((_image(artwork), poster(artwork, names[artwork.title_id]).encode()) for artwork in service.artworks),
    )
    write_truth(truth_of(service.tastes, service.artworks), warehouse)
    return rows


def check_is_new(warehouse: str) -> None:
    """Raise ContractError if there is something where a sample is to be written, except what a killed run left in a
    store, which is removed.
    """
    if is_uri(warehouse):
        # The mark sorts before all tables.
        if (first := next(names_below(warehouse), None)) not in (None, PART):
            raise _not_empty(warehouse)
        if first == PART:
            remove(warehouse, [name for name in names_below(warehouse) if name != PART])
            remove(warehouse, [PART])
        return
    folder = Path(warehouse)
    try:
        taken = folder.is_symlink() or (folder.exists() and not folder.is_dir())
        filled = not taken and folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise ContractError(f"{warehouse} cannot be read: {error}; give another --warehouse") from error
    if taken:
        raise ContractError(f"{warehouse} is a file or a link: a sample is written to a new folder")
    if filled:
        raise _not_empty(warehouse)


def _not_empty(warehouse: str) -> ContractError:
    return ContractError(
        f"{warehouse} is not empty and a sample is only written to a new warehouse: "
        "give another --warehouse, or remove that folder first"
    )


def _arrow(table: Table, rows: Iterable[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=table.arrow_schema())


def _viewing_row(viewing: Viewing) -> dict[str, Any]:
    return {**vars(viewing), "watch_date": viewing.watched_at.date()}


def _title_row(title: Title) -> dict[str, Any]:
    return {
        "title_id": title.title_id,
        "name": title.name,
        "release_year": title.release_year,
        "genres": list(title.genres),
        "synopsis": title.synopsis,
    }


def _artwork_row(artwork: Artwork) -> dict[str, Any]:
    return {
        "artwork_id": artwork.artwork_id,
        "title_id": artwork.title_id,
        "caption": artwork.caption,
        "themes": list(artwork.themes),
        "image_uri": _image(artwork),
        "is_default": artwork.is_default,
        "active_from": artwork.active_from,
        "active_to": artwork.active_to,
    }


def _image(artwork: Artwork) -> str:
    return f"{IMAGES}/{artwork.artwork_id}.svg"


def _impression_row(impression: Impression) -> dict[str, Any]:
    return {"ds": impression.shown_at.date(), **vars(impression)}
