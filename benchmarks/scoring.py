"""python -m benchmarks.scoring [--users 500] [--repeats 3] [--models tiny random-10m] [--sides marquee ceiling …]

Pairs per second from a prompt bucket on disk to scores on disk: Marquee against the engine's ceiling and against what
one would otherwise write. Each side is one file of benchmarks/peers and runs in a process of its own, once per repeat,
in alternating order; its start (imports, weights, engine) and a warm-up are not counted. First it is shown that all
sides give the same probabilities. Settings: MARQUEE_…, for every side alike.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.agreement import Agreement, compare
from benchmarks.cached_share import EndlessCache
from benchmarks.peers.job import Job
from benchmarks.peers.text_script import LARGE, SMALL, cache_blocks
from benchmarks.prompt_bucket import MEASURED, TITLES_PER_USER, make_nights
from benchmarks.random_llama import make_random_llama
from benchmarks.repeats import alternating, rate
from inference.checkpoint import read_checkpoint
from inference.questions import Choices, Question, questions
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.settings import settings
from schemas.tables import TITLE_CHOICES, USER_CONTEXTS
from serving.tables import wide_console

OURS = "marquee"
GOALS: dict[str, float | None] = {
    OURS: None,
    "ceiling": 0.95,
    "text_sorted": 1.0,
    "text_script_large_cache": None,
    "text_script_small_cache": 3.0,
    "ray_data": 2.0,
    "transformers_batched": 3.0,
}
"""Every side, and how many times as fast as it Marquee is to be."""
MODELS = ("tiny", "random-10m")

# The same for every side: no second process for the engine, both cores, nothing from the network.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Run:
    """One side, once."""

    seconds: float
    start_seconds: float
    prompt_tokens: int
    computed_tokens: int | None
    peak_rss_mb: int


@dataclass(frozen=True)
class Bucket:
    """The measured bucket, counted with a model's tokenizer. `most_cached`: tokens that an endless cache would have."""

    pairs: int
    context_tokens: int
    prompt_tokens: int
    most_cached: int


def count(job: Job) -> Bucket:
    """Count the bucket as Marquee asks it."""
    night, tokens = Night(job.warehouse, MEASURED), Tokens(job.checkpoint)
    choices = Choices(night.rows(TITLE_CHOICES, ["title_id", "ordering", "artwork_ids", "choice"]), tokens)
    cache = EndlessCache(job.settings.block_size)
    contexts = list(night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"]))
    context_tokens = sum(len(tokens.context(row["context"]).ids) for row in contexts)
    groups = questions(contexts, choices, tokens, job.checkpoint.max_model_len - 1)
    prompts = [each.prompt for group in groups for each in group if isinstance(each, Question)]
    return Bucket(len(prompts), context_tokens, sum(map(len, prompts)), sum(map(cache.ask, prompts)))


def run_side(side: str, job: Job, folder: Path) -> tuple[Run, list[dict[str, Any]]]:
    """Run a side in a process of its own; its scores come along.

    Raises RuntimeError, with the end of what it said, where it fails.
    """
    into = Path(tempfile.mkdtemp(prefix=f"{side}-", dir=folder))
    Job(job.warehouse, job.model, str(into / "scores"), job.context_tokens).write(into / "job.json")
    (into / "scores").mkdir()
    cache = {"VLLM_CPU_KVCACHE_SPACE": str(job.settings.cpu_cache_gib)}
    with (into / "log").open("w+") as log:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.peers", side, into / "job.json", into / "result.json"],
            env={**_ENVIRONMENT, **cache, **os.environ},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
        log.seek(0)
        said = log.read()
    if done.returncode:
        raise RuntimeError(f"ended with status {done.returncode}; the end of {into / 'log'}:\n{said[-1500:]}")
    result = json.loads((into / "result.json").read_text())
    scores = result.pop("scores")
    return Run(**result), scores


@dataclass
class Measured:
    """The runs of each side that did not fail, whether it agrees with ours, and why a side that failed has no runs."""

    runs: dict[str, list[Run]]
    agreements: dict[str, Agreement]
    failed: dict[str, str]


def measure(sides: list[str], job: Job, folder: Path, repeats: int, tolerance: float) -> Measured:
    """Run the sides, ours first. Raises ContractError at once where a side's scores are not the first of ours."""
    measured = Measured({}, {}, {})
    reference: list[dict[str, Any]] = []
    for order in alternating(sides, repeats):
        for side in order:
            if side in measured.failed:
                continue
            try:
                run, scores = run_side(side, job, folder)
            except RuntimeError as error:
                measured.failed[side] = str(error)
                measured.runs.pop(side, None)
                measured.agreements.pop(side, None)
                continue
            reference = reference or scores
            measured.agreements[side] = compare(side, reference, scores, tolerance)
            measured.runs.setdefault(side, []).append(run)
            print(f"  {side}: {run.seconds:.2f} s, after {run.start_seconds:.0f} s to start", flush=True)
        if OURS in measured.failed:
            raise ContractError(f"{OURS} did not run, so there is nothing to compare with: {measured.failed[OURS]}")
    return measured


def told_agreement(side: str, agreement: Agreement) -> str:
    if agreement.largest is not None:
        return f"  {side}: {agreement.pairs:,} pairs, largest difference {agreement.largest:.1e}"
    return (
        f"  {side}: {agreement.answered:,} of {agreement.pairs:,} texts name an option, {agreement.best:,} of them the "
        "most probable one"
    )


def told(runs: dict[str, list[Run]], bucket: Bucket, title: str) -> Table:
    """Pairs per second of each side, and how many times as fast Marquee is, by medians."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    table.add_column("side")
    for column in ("pairs/s", "lowest", "highest", "Marquee is", "goal", "computed / prompt", "start s", "peak MB"):
        table.add_column(column, justify="right")
    ours = rate(bucket.pairs, [run.seconds for run in runs[OURS]]).median
    for side, goal in GOALS.items():
        if side not in runs:
            continue
        found = rate(bucket.pairs, [run.seconds for run in runs[side]])
        run = runs[side][0]
        share = "not told" if run.computed_tokens is None else f"{run.computed_tokens / run.prompt_tokens:.3f}"
        table.add_row(
            side,
            *(f"{value:,.1f}" for value in (found.median, found.low, found.high)),
            f"{ours / found.median:.2f} ×",
            "" if goal is None else f"{goal:.2f} ×",
            share,
            f"{run.start_seconds:.0f}",
            f"{max(each.peak_rss_mb for each in runs[side]):,}",
        )
    return table


def benchmark(model: str, sides: list[str], users: int, repeats: int, tolerance: float, folder: Path) -> None:
    """Measure one model and print what came out."""
    checkpoint = read_checkpoint(settings().model)
    if model != "tiny":
        checkpoint = make_random_llama(folder / model, checkpoint)
    warehouse = folder / f"warehouse-{model}"
    make_nights(warehouse, users)
    bucket = count(Job(str(warehouse), str(checkpoint.path), "", 0))
    job = Job(str(warehouse), str(checkpoint.path), "", bucket.context_tokens)
    print(
        f"\n{checkpoint.version}: {users:,} users, {bucket.pairs:,} pairs, "
        f"{bucket.context_tokens / users:.0f} tokens a context, {bucket.prompt_tokens / bucket.pairs:.0f} a prompt; "
        f"blocks of {job.settings.block_size}, {job.settings.max_num_batched_tokens} tokens and "
        f"{job.settings.max_num_seqs} prompts a step, {os.cpu_count()} processors"
    )
    large, small = (cache_blocks(bucket.context_tokens, share, job.settings.block_size) for share in (LARGE, SMALL))
    print(f"the script's caches: {large:,} and {small:,} blocks, which the prompts of a step have to fit in too")
    measured = measure(sides, job, folder, repeats, tolerance)
    for side, reason in measured.failed.items():
        print(f"{side}: FAILED, left out: {reason}")
    print(f"the same probabilities as {OURS}'s, within {tolerance}, in every repeat:")
    for side, agreement in measured.agreements.items():
        print(told_agreement(side, agreement))
    wide_console().print(told(measured.runs, bucket, f"{checkpoint.name}: medians of {repeats} repeats"))
    ours = measured.runs[OURS][0]
    found = ours.prompt_tokens - (ours.computed_tokens or 0)
    print(
        f"Marquee found {found:,} of {ours.prompt_tokens:,} prompt tokens in the cache: "
        f"{found / bucket.most_cached:.4f} of the most that its blocks allow (goal: 0.97)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scoring", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=500, help=f"of {TITLES_PER_USER} pairs each; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="default: both")
    parser.add_argument("--sides", nargs="+", choices=GOALS, default=list(GOALS), help="default: all")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of a probability; default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    sides = [OURS, *(side for side in GOALS if side in arguments.sides and side != OURS)]
    if "ray_data" in sides and importlib.util.find_spec("ray") is None:
        sides.remove("ray_data")
        print("ray_data: left out, for the package ray is not installed here (pip install 'ray[llm]')")
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {' '.join(sys.orig_argv[1:])}")
    with tempfile.TemporaryDirectory(prefix="marquee-scoring-", dir=arguments.scratch) as folder:
        for model in arguments.models:
            try:
                benchmark(model, sides, arguments.users, arguments.repeats, arguments.tolerance, Path(folder))
            except ContractError as error:
                print(f"scoring: {error}", file=sys.stderr)
                return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
