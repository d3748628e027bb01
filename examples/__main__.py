"""Fill a new warehouse with a sample service.

python -m examples simulated --warehouse W [--users N --titles N --days N --seed N --last-day D]
python -m examples movielens --warehouse W --folder F [--seed N]
python -m examples last-day --warehouse W
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from examples.movielens import movielens_service
from examples.service import Service, last_day, new_folder, write_service
from examples.simulated import LAST_DAY, simulated_service
from schemas.arguments import night_date, place
from schemas.exit_codes import exit_status
from schemas.settings import settings

SEED = 1
# Limits memory, and keeps the first day within Python's dates.
_MOST = 500_000


def main(arguments: list[str] | None = None) -> int:
    parsed = _parser().parse_args(arguments)
    return exit_status("examples", lambda: _obey(parsed))


def _obey(arguments: argparse.Namespace) -> None:
    warehouse = arguments.warehouse or settings().warehouse
    if arguments.command == "last-day":
        print(last_day(warehouse))
    else:
        _fill(arguments, warehouse)


def _fill(arguments: argparse.Namespace, warehouse: str) -> None:
    folder = new_folder(warehouse)
    service = _service(arguments)
    for table, rows in write_service(service, folder).items():
        print(f"{table:<16} {rows:>9,} rows")
    print(f"written to {warehouse}; first day {service.first_day}, last day {service.last_day}")


def _service(arguments: argparse.Namespace) -> Service:
    if arguments.command == "movielens":
        return movielens_service(arguments.folder, arguments.seed)
    return simulated_service(arguments.users, arguments.titles, arguments.days, arguments.seed, arguments.last_day)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples", description="Fill a new warehouse with a sample service."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    simulated = commands.add_parser("simulated", help="made-up users, titles and histories")
    simulated.add_argument("--users", type=_count, default=300)
    simulated.add_argument("--titles", type=_count, default=200)
    simulated.add_argument("--days", type=_count, default=14, help="days of viewing history")
    simulated.add_argument("--last-day", type=night_date, default=LAST_DAY, help="default: %(default)s")
    movielens = commands.add_parser("movielens", help="the real histories and titles of MovieLens 100K")
    movielens.add_argument("--folder", type=Path, required=True, help="holds u.data, u.item and u.genre")
    last = commands.add_parser("last-day", help="print the last day on which anything was watched")
    for command in (simulated, movielens):
        command.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    for command in (simulated, movielens, last):
        command.add_argument("--warehouse", type=place, help="default: MARQUEE_WAREHOUSE")
    return parser


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST:,}")
    return int(text)


if __name__ == "__main__":
    # A sample that is ended cleans up after itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
