"""python -m benchmarks.scoring [--users 500] [--repeats 3] [--models tiny random-10m] [--sides marquee ceiling …]

Pairs per second from a prompt bucket on disk to scores on disk: Marquee against the engine's ceiling and against what
one would otherwise write. Each side is one file of benchmarks/peers and runs in a process of its own, once per repeat,
in alternating order; its start (imports, weights, engine) and a warm-up are not counted. First it is shown that all
sides give the same probabilities. Settings: MARQUEE_…, for every side alike.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.agreement import Agreement
from benchmarks.cached_share import EndlessCache
from benchmarks.peers import ray_data
from benchmarks.peers.job import Job
from benchmarks.peers.text_script import LARGE, SMALL, cache_blocks
from benchmarks.prompt_bucket import MEASURED, TITLES_PER_USER, make_nights
from benchmarks.random_llama import TINY, model_called
from benchmarks.repeats import rate
from benchmarks.report import markdown, ratio, told_run
from benchmarks.sides import OURS, Run, measure, run_side
from inference.questions import Question, questions, read_choices
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.tables import USER_CONTEXTS

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
STARTS_EACH_TIME = {"ray_data"}
"""Sides whose engine starts within the clock, for each night that they score."""
MODELS = (TINY, "random-10m")


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
    choices = read_choices(night, tokens)
    cache = EndlessCache(job.settings.block_size)
    contexts = list(night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"]))
    context_tokens = sum(len(tokens.context(row["context"]).ids) for row in contexts)
    groups = questions(contexts, choices, tokens, job.checkpoint.max_model_len - 1)
    prompts = [each.prompt for group in groups for each in group if isinstance(each, Question)]
    return Bucket(len(prompts), context_tokens, sum(map(len, prompts)), sum(map(cache.ask, prompts)))


def told_agreement(side: str, agreement: Agreement) -> str:
    if agreement.largest is not None:
        return f"  {side}: {agreement.pairs:,} pairs, largest difference {agreement.largest:.1e}"
    return (
        f"  {side}: {agreement.answered:,} of {agreement.pairs:,} texts name an option, {agreement.best:,} of them the "
        "most probable one"
    )


def told(runs: dict[str, list[Run]], bucket: Bucket) -> str:
    """Pairs per second of each side, and how many times as fast Marquee is, by medians.

    A side that starts its engine anew for every night (STARTS_EACH_TIME) has a second line, as if it had not: without
    what the warm-up took.
    """
    lines = []
    ours = rate(bucket.pairs, [run.seconds for run in runs[OURS]]).median
    for side, goal in GOALS.items():
        if side not in runs:
            continue
        run = runs[side][0]
        shared = (
            "" if goal is None else f"{goal:.2f} ×",
            "not told" if run.computed_tokens is None else f"{run.computed_tokens / run.prompt_tokens:.3f}",
            f"{max(each.peak_rss_mb for each in runs[side]):,}",
        )
        took = {side: [each.seconds for each in runs[side]]}
        if side in STARTS_EACH_TIME:
            took[f"{side}, its start taken off"] = [each.seconds - each.warm_up_seconds for each in runs[side]]
        for name, seconds in took.items():
            found = rate(bucket.pairs, seconds)
            lines.append([name, str(found), f"{ratio(ours, found.median)} ×", *shared])
    return markdown(["side", "pairs/s (range)", "Marquee is", "goal", "computed / prompt", "peak MB"], lines)


def benchmark(model: str, sides: list[str], users: int, repeats: int, tolerance: float, folder: Path) -> None:
    """Measure one model and print what came out."""
    checkpoint = model_called(model, folder)
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
    runs = {side: partial(run_side, side, job, folder) for side in sides}
    measured = measure(runs, repeats, dict.fromkeys(sides, tolerance))
    for side, reason in measured.failed.items():
        print(f"{side}: FAILED, left out: {reason}")
    print(f"the same probabilities as {OURS}'s, within {tolerance}, in every repeat:")
    for side, agreement in measured.agreements.items():
        print(told_agreement(side, agreement))
    print(f"medians of {repeats} repeats:\n{told(measured.runs, bucket)}")
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
    sides = ray_data.runnable([OURS, *(side for side in GOALS if side in arguments.sides and side != OURS)])
    print(told_run(), flush=True)
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
