"""Fills a new warehouse with a sample service."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from examples.movielens import movielens_service
from examples.service import PART, Service, check_is_new, write_service
from examples.simulated import LAST_DAY, simulated_service
from schemas.contract import ContractError
from schemas.files import has_file, read_file, write_file
from schemas.store import has_table
from schemas.tables import VIEWING_HISTORY

SEED = 1
_MARK = ".service"
"""File beside the tables with the name of their service."""


def make_simulated(
    warehouse: str, users: int = 300, titles: int = 200, days: int = 14, seed: int = SEED, last: date = LAST_DAY
) -> None:
    """Write simulated users, titles and histories to a new warehouse."""
    check_is_new(warehouse)
    _write("simulated", simulated_service(users, titles, days, seed, last), warehouse)


def make_movielens(warehouse: str, folder: Path, seed: int = SEED) -> None:
    """Write the real histories and titles of MovieLens 100K to a new warehouse."""
    check_is_new(warehouse)
    _write("movielens", movielens_service(folder, seed), warehouse)


def fill_once(warehouse: str, service: str, movielens: Path | None, users: int = 300) -> None:
    """Make the sample `service` if `warehouse` has no viewings. `users` is for a simulated one.

    Raises ContractError if the tables are another sample's.
    """
    if has_file(warehouse, PART) or not has_table(warehouse, VIEWING_HISTORY):
        print(f"Filling {warehouse} with the {service} service", flush=True)
        if service == "simulated":
            make_simulated(warehouse, users)
        elif movielens is None:
            raise ContractError(
                "the movielens service needs MovieLens 100K: give its folder (u.data, u.item) with --movielens "
                "(make: MOVIELENS=…)"
            )
        else:
            make_movielens(warehouse, movielens)
    elif (found := service_of(warehouse)) not in (None, service):
        raise ContractError(f"{warehouse} has the {found} service, not the {service} one: give another warehouse")


def service_of(warehouse: str) -> str | None:
    """The sample service whose tables are in a warehouse; None for a user's own tables."""
    mark = read_file(warehouse, _MARK)
    return None if mark is None else mark.decode().strip()


def _write(name: str, service: Service, warehouse: str) -> None:
    for table, rows in write_service(service, warehouse).items():
        print(f"{table:<16} {rows:>9,} rows")
    write_file(warehouse, _MARK, f"{name}\n".encode())
    print(f"written to {warehouse}; first day {service.first_day}, last day {service.last_day}", flush=True)
