"""python -m benchmarks.tried [--users 300] [--repeats 3] [--model tiny] [--only NAME …] [--scratch FOLDER]

What was tried to score faster, one line each: one night scored by Marquee as it is, and with one thing changed at a
time. Every run is a process of its own, in alternating order; its start and a warm-up are not counted. Where a change
must not show in the probabilities, it is checked that it doesn't; else the largest difference is told.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

from benchmarks.peers.job import Job
from benchmarks.prompt_bucket import MEASURED, ROTATIONS, TITLES_PER_USER, make_nights
from benchmarks.random_llama import TINY, model_called
from benchmarks.repeats import rate
from benchmarks.report import markdown, ratio, told_run
from benchmarks.scoring import MODELS
from benchmarks.sides import OURS, Measured, Run, measure, run_side
from inference.checkpoint import Checkpoint
from inference.warehouse import Night
from schemas.exit_codes import exit_status
from schemas.settings import Settings, settings
from schemas.tables import USER_CONTEXTS

TOLERANCE = 1e-3
_SETTINGS: dict[str, tuple[int, ...]] = {
    "max_num_seqs": (64, 1024),
    "block_size": (32, 64, 128),
    "max_num_batched_tokens": (2048, 32768),
}
_AS_IT_IS = "night"
USERS_ORDERS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "users_by_text": ("users in the order of their contexts' texts", lambda row: row["context"]),
    "users_by_hash": ("users in the order of a hash", lambda row: crc32(row["user_id"].encode())),
}
"""Orders of users within the bucket other than the night's own, which is by user_id."""


@dataclass(frozen=True)
class Way:
    """Marquee with one thing changed. `same`: the probabilities must be those of the baseline."""

    told: str
    side: str = OURS
    settings: dict[str, str] = field(default_factory=dict)
    processors: str | None = None
    night: str = _AS_IT_IS
    same: bool = True


def ways(config: Settings, processors: set[int]) -> dict[str, Way]:
    """Everything that is tried, by name, the baseline first. What `config` has already is not tried."""
    found = {OURS: Way("nothing: the baseline")}
    for name, values in _SETTINGS.items():
        own = getattr(config, name)
        for value in values:
            if value != own:
                found[f"{name}={value}"] = Way(f"{name} {value}, not {own}", settings=_set(**{name: value}))
    found["bfloat16"] = Way("dtype bfloat16", settings=_set(dtype="bfloat16"), same=False)
    found["one_thread"] = Way(f"one thread, not {len(processors)}", processors=str(min(processors)))
    again = _set(further_orders=ROTATIONS - 1, close_margin=1)
    found["rotations"] = Way(f"every pair in all {ROTATIONS} rotations", settings=again, same=False)
    for name, (told, _) in USERS_ORDERS.items():
        found[name] = Way(told, night=name)
    found["choices_first"] = Way("choices before contexts, title by title", side="choices_first", same=False)
    found["classify"] = Way("a pooling model that classifies, not generate", side="classify")
    return found


def _set(**changed: object) -> dict[str, str]:
    return {f"MARQUEE_{name.upper()}": str(value) for name, value in changed.items()}


def reorder(night: Path, into: Path, key: Callable[[dict[str, Any]], Any]) -> None:
    """A copy of the nights whose measured users are stored in the order of `key`; they are scored in that order."""
    shutil.copytree(night, into)
    copy = Night(str(into), MEASURED)
    rows = sorted(copy.rows(USER_CONTEXTS, USER_CONTEXTS.arrow_schema().names), key=key)
    copy.replace_rows(USER_CONTEXTS, rows, bucket=0)


def told(tried: dict[str, Way], measured: Measured, pairs: int) -> str:
    """A line for each way; of one that failed it says how."""
    base = _seconds(measured.runs[OURS])
    rows = []
    for name, way in tried.items():
        if name in measured.failed:
            rows.append([f"{way.told}: FAILED, {measured.failed[name].splitlines()[-1]}", *"––––"])
            continue
        runs = measured.runs[name]
        found = rate(pairs, _seconds(runs))
        rows.append(
            [
                way.told,
                str(found),
                f"{ratio(median(base), median(_seconds(runs)))} ×",
                _told_tokens(runs[0]),
                f"{measured.agreements[name].largest or 0:.1e}",
            ]
        )
    columns = ("changed", "pairs/s", "of the baseline", "computed / prompt tokens", "largest difference")
    return markdown(columns, rows)


def _seconds(runs: list[Run]) -> list[float]:
    return [run.seconds for run in runs]


def _told_tokens(run: Run) -> str:
    computed = run.computed_tokens or 0
    return f"{computed:,} / {run.prompt_tokens:,} = {computed / run.prompt_tokens:.3f}"


def benchmark(tried: dict[str, Way], checkpoint: Checkpoint, users: int, repeats: int, folder: Path) -> None:
    """Measure and print."""
    make_nights(folder / _AS_IT_IS, users, orderings=ROTATIONS)
    for night in {way.night for way in tried.values()} - {_AS_IT_IS}:
        reorder(folder / _AS_IT_IS, folder / night, USERS_ORDERS[night][1])
    runs = {}
    for name, way in tried.items():
        job = Job(str(folder / way.night), str(checkpoint.path), "", 0)
        runs[name] = partial(run_side, way.side, job, folder, way.settings, way.processors)
    measured = measure(runs, repeats, {name: TOLERANCE if way.same else math.inf for name, way in tried.items()})
    for name, reason in measured.failed.items():
        print(f"{name}: FAILED: {reason}")
    pairs = users * TITLES_PER_USER
    print(f"\n{checkpoint.version}: {users:,} users, {pairs:,} pairs, medians of {repeats} repeats (lowest–highest)\n")
    print(told(tried, measured, pairs))
    checked = [name for name, way in tried.items() if way.same and name not in measured.failed and name != OURS]
    print(f"\nWithin {TOLERANCE} of the baseline's probabilities in every repeat: {', '.join(checked) or 'none tried'}")


def main() -> int:
    everything = ways(settings(), os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tried", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=300, help=f"of {TITLES_PER_USER} pairs each; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--model", choices=MODELS, default=TINY, help="default: %(default)s")
    names = [name for name in everything if name != OURS]
    told_names = f"of {', '.join(names)}; default: all"
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=told_names)
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    tried = {name: way for name, way in everything.items() if name in (OURS, *arguments.only)}
    print(told_run(), flush=True)
    with tempfile.TemporaryDirectory(prefix="marquee-tried-", dir=arguments.scratch) as scratch:

        def run() -> None:
            checkpoint = model_called(arguments.model, Path(scratch))
            benchmark(tried, checkpoint, arguments.users, arguments.repeats, Path(scratch))

        return exit_status("tried", run)


if __name__ == "__main__":
    sys.exit(main())
