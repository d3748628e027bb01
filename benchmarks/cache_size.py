"""python -m benchmarks.cache_size [--users 200] [--scratch FOLDER]

The size at which a user's context falls out of the prefix cache before its pairs are done: one night scored with caches
of fewer and fewer blocks, in Marquee's order (a user's pairs one after another, asked once or in all rotations) and in
a naive one (all users of a title, then the next title). Told for each: tokens computed over tokens of prompts, and what
was found over the most that blocks allow, which is what an endless cache would have had. Tokens are counts: they are
the same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.agreement import compare
from benchmarks.cached_share import EndlessCache
from benchmarks.peers.job import Job
from benchmarks.peers.small_cache import BY_TITLE, BY_USER, IN_ROTATIONS
from benchmarks.prompt_bucket import MEASURED, ROTATIONS, TITLES_PER_USER, make_nights
from benchmarks.report import markdown, ratio, told_run
from benchmarks.sides import environment, run_to_its_end
from inference.questions import Question, questions, read_choices
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.exit_codes import exit_status
from schemas.settings import settings
from schemas.tables import USER_CONTEXTS

_TOLERANCES = {BY_USER: 1e-3, BY_TITLE: 1e-3, IN_ROTATIONS: math.inf}
# Of what the blocks allow: where less is found, contexts were computed twice.
HELD = 0.99
# How near the size that holds and the one that does not must be.
_NEAR = 1.1
# vLLM keeps one block back.
_KEPT_BACK = 1

type_prompts = list[list[int]]


@dataclass(frozen=True)
class Order:
    """The prompts of an order, counted. `found_at_most`: tokens that an endless cache would have; `in_flight`: blocks
    of the prompts that a step may hold.
    """

    found_at_most: int
    in_flight: int


@dataclass(frozen=True)
class Counted:
    """One order with one size of cache."""

    seconds: float
    prompt_tokens: int
    computed_tokens: int


@dataclass(frozen=True)
class Needs:
    """What the night's prompts take of a cache, in blocks. `context`: of a user, on average."""

    longest: int
    context: float
    everything: int


def blocks_of(prompts: type_prompts, block_size: int) -> int:
    """Blocks that hold all of these prompts at once: whole blocks are shared, and each prompt has its own last one."""
    cache = EndlessCache(block_size)
    for prompt in prompts:
        cache.ask(prompt)
    return len(cache) + sum(len(prompt) % block_size > 0 for prompt in prompts)


def counted(prompts: type_prompts, block_size: int, at_once: int) -> Order:
    cache = EndlessCache(block_size)
    return Order(sum(map(cache.ask, prompts)), blocks_of(prompts[:at_once], block_size))


def prompts_in(order: str, asked: list[Question]) -> type_prompts:
    """Of questions asked user by user. Where all rotations are asked, a pair's next ones come a few pairs later; what
    the blocks allow is the same.
    """
    if order == IN_ROTATIONS:
        return [each.prompt_in(rotation) for each in asked for rotation in range(len(each.orders))]
    return [each.prompt for each in (asked if order == BY_USER else sorted(asked, key=lambda each: each.title_id))]


def read_questions(job: Job) -> list[Question]:
    """The measured night's questions as Marquee asks them, each with all its rotations."""
    night, tokens = Night(job.warehouse, MEASURED), Tokens(job.checkpoint)
    choices = read_choices(night, tokens)
    contexts = night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"])
    asked = chain.from_iterable(questions(contexts, choices, tokens, job.checkpoint.max_model_len - 1, ROTATIONS - 1))
    return [each for each in asked if isinstance(each, Question)]


def needs(asked: list[Question], block_size: int) -> Needs:
    contexts = {each.user_id: len(each.context) for each in asked}
    longest = max(each.tokens(order) for each in asked for order in range(len(each.orders)))
    return Needs(
        math.ceil((longest + 1) / block_size),
        sum(contexts.values()) / len(contexts) / block_size,
        blocks_of([each.prompt for each in asked], block_size),
    )


def halved(most: int, least: int) -> list[int]:
    """Sizes from `most` down to `least`, each half of the one before."""
    sizes = []
    while most > least:
        sizes.append(most)
        most //= 2
    return [*sizes, least]


def smallest_held(sizes: list[int], holds: Callable[[int], bool]) -> int | None:
    """The smallest size that `holds`, near enough to one that doesn't; None where not even the largest of `sizes` does.

    `sizes` are falling, and a larger one holds what a smaller one does.
    """
    held = None
    for size in sizes:
        if not holds(size):
            break
        held = size
    else:
        return held
    if held is None:
        return None
    fallen = size
    while held > _NEAR * fallen and held - fallen > 1:
        middle = (held + fallen) // 2
        held, fallen = (middle, fallen) if holds(middle) else (held, middle)
    return held


def share_of_most(found: Counted, order: Order) -> float:
    return (found.prompt_tokens - found.computed_tokens) / order.found_at_most


class Caches:
    """Scores the night with caches of several sizes, each size once, in a process of its own."""

    def __init__(self, job: Job, longest: int, folder: Path) -> None:
        self.job, self._folder = job, folder
        # vLLM does not start with a cache that cannot hold the longest prompt that it may be given.
        self._environment = {**environment(job), "MARQUEE_MAX_MODEL_LEN": str(longest * job.settings.block_size)}
        self._reference: list[dict[str, Any]] = []
        self.found: dict[int, dict[str, Counted]] = {}

    def of(self, blocks: int) -> dict[str, Counted]:
        """What each order came to. Raises RuntimeError where the process fails, ContractError where scores differ."""
        if blocks not in self.found:
            print(f"  {blocks:,} blocks", flush=True)
            self.found[blocks] = {order: self._checked(order, **run) for order, run in self.run(blocks).items()}
        return self.found[blocks]

    def run(self, blocks: int) -> dict[str, dict[str, Any]]:
        """The process itself: counts and scores by order."""
        job, result, log = (self._folder / f"{blocks}-{name}" for name in ("job.json", "result.json", "log"))
        Job(self.job.warehouse, self.job.model, str(self._folder / f"{blocks}"), 0).write(job)
        command = [sys.executable, "-m", "benchmarks.peers.small_cache", str(job), str(blocks), str(result)]
        run_to_its_end(command, self._environment, log)
        found: dict[str, dict[str, Any]] = json.loads(result.read_text())
        return found

    def _checked(self, order: str, scores: list[dict[str, Any]], **counts: Any) -> Counted:
        self._reference = self._reference or scores
        compare(order, self._reference, scores, _TOLERANCES[order])
        return Counted(**counts)


def holds(caches: Caches, name: str, order: Order, blocks: int) -> bool:
    return share_of_most(caches.of(blocks)[name], order) >= HELD


def told(found: dict[int, dict[str, Counted]], orders: dict[str, Order], longest: int, pairs: int) -> str:
    """A line for each order and size."""
    rows = [
        [
            name,
            f"{blocks:,}",
            ratio(blocks, longest),
            ratio(blocks, order.in_flight),
            f"{found[blocks][name].computed_tokens / found[blocks][name].prompt_tokens:.3f}",
            f"{share_of_most(found[blocks][name], order):.4f}",
            f"{pairs / found[blocks][name].seconds:,.0f}",
        ]
        for name, order in orders.items()
        for blocks in sorted(found, reverse=True)
    ]
    columns = ("order", "blocks", "/ longest", "/ in flight", "computed / prompt", "of the most", "pairs/s")
    return markdown(columns, rows)


def told_fall(order: str, held: int | None, sizes: list[int], context: float) -> str:
    """From which size on an order's contexts fall out."""
    if held is None:
        return f"{order}: contexts fall out even with {sizes[0]:,} blocks, {sizes[0] / context:,.1f} users' contexts"
    if held == sizes[-1]:
        return f"{order}: no context falls out, not even with the {held:,} blocks that vLLM needs to start"
    return f"{order}: contexts fall out below {held:,} blocks, where {held / context:,.1f} users' contexts fit"


def benchmark(users: int, folder: Path) -> None:
    """Measure and print."""
    make_nights(folder / "night", users, orderings=ROTATIONS)
    job = Job(str(folder / "night"), settings().model, "", 0)
    asked, block_size, at_once = read_questions(job), job.settings.block_size, job.settings.max_num_seqs
    orders = {name: counted(prompts_in(name, asked), block_size, at_once) for name in _TOLERANCES}
    needed = needs(asked, block_size)
    sizes = halved(needed.everything + _KEPT_BACK, needed.longest + _KEPT_BACK)
    print(
        f"{job.checkpoint.version}: {users:,} users, {len(asked):,} pairs; in blocks of {block_size}: the longest "
        f"prompt {needed.longest}, a user's context {needed.context:.1f}, all pairs asked once {needed.everything:,}"
    )
    caches = Caches(job, needed.longest, folder)
    held = {name: smallest_held(sizes, partial(holds, caches, name, order)) for name, order in orders.items()}
    for size in sizes:
        caches.of(size)
    flight = ", ".join(f"{order.in_flight:,} {name}" for name, order in orders.items())
    print(f"\nBlocks of the {min(at_once, len(asked))} prompts that a step may hold: {flight}\n")
    print(told(caches.found, orders, needed.longest, len(asked)))
    print(f"\nContexts fall out where less than {HELD} of what the blocks allow is found:")
    print(*(told_fall(name, held[name], sizes, needed.context) for name in orders), sep="\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cache_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, default=200, help=f"of {TITLES_PER_USER} pairs each; default: %(default)s")
    parser.add_argument("--scratch", type=Path, help="an existing folder for what is made; default: a temporary one")
    arguments = parser.parse_args()
    print(told_run(), flush=True)
    with tempfile.TemporaryDirectory(prefix="marquee-cache-size-", dir=arguments.scratch) as scratch:
        return exit_status("cache_size", lambda: benchmark(arguments.users, Path(scratch)))


if __name__ == "__main__":
    sys.exit(main())
