"""What a night would cost for many users, on paper: GPU-hours and storage from a night that has run.

Tokens and bytes of that night are counted with the warehouse, the model's tokenizer and the block size of the settings
(a GPU's block size by default); rates were measured on one H100 (benchmarks/results/2026-11-27-h100.json).
Every assumption is an option and is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import Row, Table
from benchmarks.night_counts import ByteCounts, byte_counts, token_counts
from inference.checkpoint import read_checkpoint
from inference.job import ScoringJob
from inference.tokens import Tokens
from schemas.arguments import night_date
from schemas.settings import settings

ASSUMED: dict[str, tuple[float, str]] = {
    "users": (300e6, "users"),
    "titles": (100, "wanted pairs per user"),
    "asked-share": (0, "share of pairs that need the model; 0: the night's own"),
    "tokens-ratio": (1, "tokens of the real tokenizer per token of the night's"),
    "rate": (62_400, "computed tokens/s per GPU: measured, Marquee in FP8 on an H100, Llama 3.1 8B's shape"),
    "bf16-share": (0.70, "rate in bf16 over the rate in FP8: measured, 43,750 tokens/s"),
    "cached-share": (0.97, "share found of what blocks allow to be cached; the goal in docs/performance.md"),
    "night-hours": (6, "hours in which scoring must end"),
    "kept-nights": (30, "nights whose partitions are kept"),
}
"""Name, default and meaning of each assumption."""

SHARES = (0.01, 0.05, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Plan:
    """`context` and `choice`: tokens of each; `remainder`: tokens after a context's last whole cache block."""

    users: float
    titles: float
    context: float
    choice: float
    remainder: float
    cached_share: float = 1

    def prompt_tokens(self) -> float:
        """Tokens of a user's prompts: K (C + S)."""
        return self.titles * (self.context + self.choice)

    def computed_tokens(self) -> float:
        """Tokens computed for a user: prompts minus f (K − 1) (C − r), cached for all but the first."""
        found = self.cached_share * max(self.titles - 1, 0) * (self.context - self.remainder)
        return self.prompt_tokens() - found


def storage_row(plan: Plan, assumed: dict[str, float], found: ByteCounts, share: float) -> Row:
    """TB that one night writes with `share` of the users changed; `artwork_selections` is the whole state."""
    changed, pairs = plan.users * share, plan.users * assumed["titles"]
    written = {
        "wanted_pairs": pairs * found.wanted_pair,
        "user_contexts": changed * (found.context_user + plan.titles * found.context_pair),
        "artwork_scores": changed * plan.titles * found.score,
        "artwork_selection_log": changed * assumed["titles"] * found.logged,
    }
    night, state = sum(written.values()), pairs * found.selection
    kept = {"artwork_selections": state, "a night": night, "all kept": assumed["kept-nights"] * night + state}
    return {"users changed": f"{share:.0%}", **{name: size / 1e12 for name, size in {**written, **kept}.items()}}


def tables(plan: Plan, assumed: dict[str, float], found: ByteCounts) -> Iterator[Table]:
    """The tables of docs/scaling.md."""
    rate, hours = 3600 * assumed["rate"], assumed["night-hours"]
    computed, prompt = plan.users * plan.computed_tokens(), plan.users * plan.prompt_tokens()
    full, one = computed / rate, plan.users * (plan.context + plan.choice)
    rows: list[Row] = [
        {
            "users changed": f"{share:.0%}",
            "G pairs scored": share * plan.users * plan.titles / 1e9,
            "T tokens computed": share * computed / 1e12,
            "of prompts": computed / prompt,
            "GPU-hours FP8": share * full,
            "bf16": share * full / assumed["bf16-share"],
            "FP8, no cache": share * prompt / rate,
            "GPUs for the night, FP8": share * full / hours,
        }
        for share in SHARES
    ]
    yield "Scoring", rows
    yield "One title, wanted by all, with new artworks", [{"T tokens": one / 1e12, "GPU-hours FP8": one / rate}]
    users = plan.users * hours / full
    one_gpu: Row = {
        "pairs/s": users * plan.titles / hours / 3600,
        **{f"M users of whom {share:.0%} changed": users / share / 1e6 for share in (1, 0.2, 0.05)},
    }
    yield "What one GPU can do in a night, FP8", [one_gpu]
    yield "Storage, TB", [storage_row(plan, assumed, found, share) for share in SHARES]


def measure(arguments: argparse.Namespace, _: Path) -> Iterator[Table]:
    config = settings()
    checkpoint, block_size = read_checkpoint(config.model), config.steps(on_cpu=False).block_size
    night = ScoringJob(config.warehouse, arguments.ds)
    counts = token_counts(night, Tokens(checkpoint), checkpoint.max_model_len - 1, block_size)
    found = byte_counts(night)
    assumed = {name: getattr(arguments, name.replace("-", "_")) for name in ASSUMED}
    assumed["asked-share"] = assumed["asked-share"] or found.asked_share
    title = f"Counted: {night.warehouse}, ds={night.ds}, {checkpoint.version}, blocks of {block_size}"
    yield title, [{"what": name, "count": value} for name, value in {**vars(counts), **vars(found)}.items()]
    yield "Assumed", [{"option": name, "value": value, "what": ASSUMED[name][1]} for name, value in assumed.items()]
    plan = Plan(
        users=assumed["users"],
        titles=assumed["titles"] * assumed["asked-share"],
        context=counts.context * assumed["tokens-ratio"],
        choice=counts.choice * assumed["tokens-ratio"],
        remainder=counts.remainder,
        cached_share=assumed["cached-share"],
    )
    yield from tables(plan, assumed, found)


def main(arguments: list[str]) -> int:
    parser = harness.parser("night_cost", __doc__)
    parser.add_argument("--ds", type=night_date, required=True, help="a night that has scored, YYYY-MM-DD")
    for name, (value, meaning) in ASSUMED.items():
        parser.add_argument(f"--{name}", type=float, default=value, help=meaning)
    return harness.run(parser, arguments, measure)
