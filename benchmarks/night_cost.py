"""python -m benchmarks.night_cost --warehouse FOLDER --ds 2026-01-14 [--users 300000000 --titles 100 …]

What a night would cost for many users: GPU-hours and storage, worked out from what a night that has run counted and
from published prefill rates. Nothing here is measured on a GPU; every assumption is an argument and is printed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from rich.table import Table

from benchmarks.night_counts import ByteCounts, TokenCounts, byte_counts, token_counts, watched_share
from inference.checkpoint import read_checkpoint
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.arguments import night_date
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.settings import settings
from serving.console import wide_console

ASSUMED: dict[str, tuple[float, str]] = {
    "users": (300e6, "users"),
    "titles": (100, "wanted pairs of each"),
    "asked-share": (0, "share of pairs that need the model; 0: as the night counted"),
    "tokens-ratio": (1, "tokens of the real tokenizer for one of the tiny Llama's"),
    "rate": (56_600, "tokens/s a GPU: published, TensorRT-LLM FP8, Llama 8B on an H200, 2048 in and 128 out"),
    "ceiling": (123_700, "tokens/s a GPU that no engine can pass: the H200's dense FP8 peak at 16 GFLOP a token"),
    "bf16-share": (0.5, "rate in bf16 over the rate in FP8: that of the two peaks"),
    "cached-share": (0.97, "of what blocks allow to be cached, the part that is; the goal in docs/performance.md"),
    "night-hours": (6, "hours in which scoring must end"),
    "kept-nights": (30, "nights whose partitions are kept"),
}
"""Name, default and meaning of what is assumed."""

SHARES = (0.01, 0.05, 0.2, 0.5, 1.0)
GPUS = (1, 8, 64, 512)
BUCKETS = (1024, 4096, 16_384, 32_768)


@dataclass(frozen=True)
class Plan:
    """Tokens of a user's context and of a choice, and what stands after a context's last whole block."""

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
        """Tokens computed for a user: prompts less f (K − 1) (C − r), which the cache has of all but the first."""
        found = self.cached_share * max(self.titles - 1, 0) * (self.context - self.remainder)
        return self.prompt_tokens() - found


def gpu_hours(tokens: float, rate: float) -> float:
    """GPU-hours for `tokens` at `rate` tokens a second."""
    return tokens / rate / 3600


def stored_bytes(users: float, titles: float, asked: float, share: float, found: ByteCounts) -> dict[str, float]:
    """Bytes that one night writes, by table, with `share` of the users changed; `asked` pairs of each need the model.

    `artwork_selections` is the state that stands, whoever changed.
    """
    changed = users * share
    return {
        "wanted_pairs": users * titles * found.wanted_pair,
        "user_contexts": changed * (found.context_user + asked * found.context_pair),
        "artwork_scores": changed * asked * found.score,
        "artwork_selection_log": changed * titles * found.logged,
        "artwork_selections": users * titles * found.selection,
    }


def told_gpu(plan: Plan, assumed: dict[str, float]) -> Table:
    table = _table(f"Scoring, with a night of {assumed['night-hours']:g} hours")
    for column in (
        "users changed",
        "pairs scored",
        "tokens computed",
        "of prompts",
        "GPU-hours FP8",
        "GPU-hours bf16",
        "at the FP8 peak",
        "no cache, FP8",
        "GPUs for the night, FP8",
    ):
        table.add_column(column, justify="right")
    for share in SHARES:
        users = plan.users * share
        computed, prompt = users * plan.computed_tokens(), users * plan.prompt_tokens()
        hours = gpu_hours(computed, assumed["rate"])
        table.add_row(
            f"{share:.0%}",
            f"{users * plan.titles / 1e9:,.2f} G",
            f"{computed / 1e12:,.2f} T",
            f"{computed / prompt:.3f}",
            f"{hours:,.0f}",
            f"{hours / assumed['bf16-share']:,.0f}",
            f"{gpu_hours(computed, assumed['ceiling']):,.0f}",
            f"{gpu_hours(prompt, assumed['rate']):,.0f}",
            f"{hours / assumed['night-hours']:,.0f}",
        )
    return table


def told_gpus(plan: Plan, assumed: dict[str, float]) -> Table:
    table = _table(f"What GPUs can do in {assumed['night-hours']:g} hours, FP8")
    for column in ("GPUs", "pairs/s", "pairs", "users changed", "users of whom 20 % changed", "users of whom 5 % did"):
        table.add_column(column, justify="right")
    for gpus in GPUS:
        users_a_second = gpus * assumed["rate"] / plan.computed_tokens()
        users = users_a_second * assumed["night-hours"] * 3600
        table.add_row(
            f"{gpus:,}",
            f"{users_a_second * plan.titles:,.0f}",
            f"{users * plan.titles / 1e9:,.3f} G",
            *(f"{number / 1e6:,.2f} M" for number in (users, users / 0.2, users / 0.05)),
        )
    return table


def told_buckets(plan: Plan, assumed: dict[str, float], found: ByteCounts) -> Table:
    table = _table("Buckets: a file that a lookup reads, and the work that a kill loses at most")
    for column in (
        "buckets",
        "users each",
        "MB of selections each",
        "GPU-minutes each, 5 % changed",
        "20 %",
        "100 %",
        "commits/s to artwork_scores",
    ):
        table.add_column(column, justify="right")
    for buckets in BUCKETS:
        users = plan.users / buckets
        minutes = gpu_hours(users * plan.computed_tokens(), assumed["rate"]) * 60
        table.add_row(
            f"{buckets:,}",
            f"{users:,.0f}",
            f"{users * assumed['titles'] * found.selection / 1e6:,.0f}",
            *(f"{minutes * share:,.1f}" for share in (0.05, 0.2, 1)),
            f"{buckets / assumed['night-hours'] / 3600:.2f}",
        )
    return table


def told_storage(plan: Plan, assumed: dict[str, float], found: ByteCounts) -> Table:
    nights = assumed["kept-nights"]
    table = _table(f"Storage, TB: one night, and {nights:g} nights kept beside the state")
    written = {share: stored_bytes(plan.users, assumed["titles"], plan.titles, share, found) for share in SHARES}
    for column in ("users changed", *written[1.0], "a night", f"{nights:g} nights and the state"):
        table.add_column(column, justify="right")
    for share, tables in written.items():
        state = tables["artwork_selections"]
        night = sum(tables.values()) - state
        row = [*tables.values(), night, nights * night + state]
        table.add_row(f"{share:.0%}", *(f"{value / 1e12:,.2f}" for value in row))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)


def print_cost(counts: TokenCounts, found: ByteCounts, assumed: dict[str, float]) -> None:
    ratio = assumed["tokens-ratio"]
    counted = Plan(1, counts.pairs / counts.users, counts.context, counts.choice, counts.remainder)
    formula = counts.users * counted.computed_tokens()
    print(
        f"counted: {counts.users:,} users, {counts.pairs:,} pairs asked ({counts.asked_share:.1%} of those published); "
        f"tokens: {counts.context:.1f} a context, {counts.choice:.1f} a choice, {counts.remainder:.1f} after a "
        f"context's last whole block\nto compute: {counts.computed:,} tokens with an endless cache; the formula gives "
        f"{formula:,.0f} ({formula / counts.computed - 1:+.1%})\nbytes: {found.context_user:.0f} a context, and a pair "
        f"{found.context_pair:.1f} beside it, {found.score:.0f} in artwork_scores, {found.logged:.0f} in "
        f"artwork_selection_log, {found.selection:.0f} in artwork_selections"
    )
    print("\nassumed:")
    for name, value in assumed.items():
        print(f"  --{name:<14} {value:>13,.10g}  {ASSUMED[name][1]}")
    plan = Plan(
        users=assumed["users"],
        titles=assumed["titles"] * assumed["asked-share"],
        context=counts.context * ratio,
        choice=counts.choice * ratio,
        remainder=counts.remainder,
        cached_share=assumed["cached-share"],
    )
    console = wide_console()
    print()
    console.print(told_gpu(plan, assumed))
    one = plan.users * (plan.context + plan.choice)
    print(
        f"one title's artworks replaced, wanted by every user, nobody changed: {one / 1e12:,.2f} T tokens, "
        f"{gpu_hours(one, assumed['rate']):,.0f} GPU-hours FP8\n"
    )
    for table in (told_gpus(plan, assumed), told_buckets(plan, assumed, found), told_storage(plan, assumed, found)):
        console.print(table)
        print()
    flat = plan.users * plan.titles * found.prompt
    print(f"the same pairs as prompt texts, {found.prompt:,.0f} bytes each: {flat / 1e12:,.1f} TB, not compressed")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.night_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--warehouse", default=settings().warehouse, help="where a night has run; default: %(default)s")
    parser.add_argument("--ds", type=night_date, required=True, help="that night, YYYY-MM-DD")
    parser.add_argument("--model", default=settings().model, help="whose tokenizer counts; default: %(default)s")
    parser.add_argument("--block-size", type=int, default=settings().block_size, help="default: %(default)s tokens")
    for name, (value, meaning) in ASSUMED.items():
        parser.add_argument(f"--{name}", type=float, default=value, help=f"{meaning}; default: {value:,.10g}")
    arguments = parser.parse_args()
    assumed = {name: getattr(arguments, name.replace("-", "_")) for name in ASSUMED}
    try:
        checkpoint = read_checkpoint(arguments.model)
        night = Night(arguments.warehouse, arguments.ds)
        tokens = Tokens(checkpoint)
        counts = token_counts(night, tokens, checkpoint.max_model_len - 1, arguments.block_size)
        assumed["asked-share"] = assumed["asked-share"] or counts.asked_share
        print(
            f"{arguments.warehouse}, night of {arguments.ds}, tokens of {checkpoint.version}, blocks of "
            f"{arguments.block_size}"
        )
        print(f"{watched_share(night):.1%} of its users watched something on that day")
        print_cost(counts, byte_counts(night), assumed)
    except ContractError as error:
        print(f"night_cost: {error}", file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
