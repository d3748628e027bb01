"""Building prompts: Marquee's contexts and choices against one flat join with a prompt text per pair.

Marquee's side is the step contexts, which also hashes every prompt and compares it with what was published; the flat
side joins and writes. Both start from the same simulated service, in one Spark session, in alternating order, and must
make the same prompts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable

from benchmarks import harness
from benchmarks.harness import Row, Table
from schemas.contract import ContractError
from schemas.tables import TITLE_CHOICES, USER_CONTEXTS

if TYPE_CHECKING:
    from spark_jobs.warehouse import Night

MARQUEE, FLAT_JOIN = "Marquee", "flat join"
_TITLES, _WARM_UP_USERS = 200, 100


def build(night: Night, step: Callable[[Night], None]) -> tuple[float, int]:
    """(seconds, bytes shuffled) of a step, with no frames cached by the one before."""
    from benchmarks.spark_prompts import shuffled_bytes

    night.spark.catalog.clearCache()
    before, began = shuffled_bytes(night.spark), time.perf_counter()
    step(night)
    return time.perf_counter() - began, shuffled_bytes(night.spark) - before


def stored_bytes(*folders: str) -> int:
    """Bytes of the tables' current files."""
    actions = [pa.table(DeltaTable(folder).get_add_actions(flatten=True)) for folder in folders]
    return sum(sum(action["size_bytes"].to_pylist()) for action in actions)


def compare(night: Night, repeats: int) -> list[Row]:
    """A row per side. Raises ContractError if the two do not have the same prompts."""
    from benchmarks.spark_prompts import both_sums, flat_path, write_flat
    from spark_jobs.candidates import candidates
    from spark_jobs.contexts import contexts
    from spark_jobs.validate import validate

    validate(night)
    candidates(night)
    steps = {MARQUEE: contexts, FLAT_JOIN: write_flat}
    runs = harness.alternating({side: partial(build, night, step) for side, step in steps.items()}, repeats)
    ours, flat = both_sums(night)
    if ours != flat:
        raise ContractError(f"prompts: Marquee holds {ours} (number, sum of hashes), the flat join {flat}")
    tables = [night.warehouse.path(table) for table in (USER_CONTEXTS, TITLE_CHOICES)]
    stored = {MARQUEE: stored_bytes(*tables), FLAT_JOIN: stored_bytes(flat_path(night))}
    return [
        {
            "side": side,
            "prompts": ours[0],
            **harness.timing([seconds for seconds, _ in found], [seconds for seconds, _ in runs[MARQUEE]]),
            "MB shuffled": median(shuffled for _, shuffled in found) / 2**20,
            "bytes a prompt": stored[side] / ours[0],
        }
        for side, found in runs.items()
    ]


def measure(arguments: argparse.Namespace, folder: Path) -> Iterator[Table]:
    from benchmarks.spark_service import LivingService
    from spark_jobs.session import spark_session

    spark = spark_session("prompts", **{"spark.master": "local[*]"})
    # A warm-up: it compiles what each side runs.
    compare(LivingService.make(spark, folder / "warm-up", _WARM_UP_USERS, _TITLES).night(0, 0), 1)
    for users in arguments.users:
        night = LivingService.make(spark, folder / f"{users}", users, _TITLES).night(0, 0)
        yield f"{users:,} users; medians of {arguments.repeats} repeats", compare(night, arguments.repeats)
    spark.stop()


def main(arguments: list[str]) -> int:
    parser = harness.parser("prompts", __doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1000, 10_000], help="sizes of the service")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    return harness.run(parser, arguments, measure)
