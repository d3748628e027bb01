"""python -m benchmarks.cached_share --ds 2026-01-14 [--warehouse warehouse]

The share of a night's prompt tokens that came from vLLM's prefix cache, against the most that could have: what a cache
that never forgets, with the same blocks and the same order of questions, would have held. Only whole blocks are shared,
and the last token of a prompt is always computed. Of a night that asked each pair once: which pairs it asked in further
orders, no table tells.
"""

from __future__ import annotations

import argparse
import sys

from inference.engine import max_model_len
from inference.questions import Question, questions, read_choices
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.arguments import night_date
from schemas.contract import ContractError
from schemas.exit_codes import exit_status
from schemas.settings import Settings, settings
from schemas.tables import SCORING_RUNS, USER_CONTEXTS


class EndlessCache:
    """Blocks of tokens, each known by all the tokens up to its end."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._seen: set[int] = set()

    def __len__(self) -> int:
        """Blocks held."""
        return len(self._seen)

    def ask(self, prompt: list[int]) -> int:
        """Tokens of the prompt that are held already; afterwards all its whole blocks are."""
        ends = range(self._block_size, len(prompt) + 1, self._block_size)
        chain, found, unbroken = 0, 0, True
        for end in ends:
            chain = hash((chain, tuple(prompt[end - self._block_size : end])))
            unbroken = unbroken and chain in self._seen
            self._seen.add(chain)
            if unbroken and end < len(prompt):
                found = end
        return found


def found_tokens(night: Night, prompt_tokens: int) -> int:
    """Tokens that the night found in its cache. Raises ContractError where it did not ask `prompt_tokens` in all."""
    runs = list(night.rows(SCORING_RUNS, ["prompt_tokens", "cached_tokens", "asked_again"]))
    if again := sum(run["asked_again"] for run in runs):
        raise ContractError(
            f"{night.path(SCORING_RUNS)}: {again:,} pairs were asked in further orders on ds={night.ds}, and the most "
            "that a cache could hold is known of a single one; score the night with MARQUEE_FURTHER_ORDERS=0"
        )
    asked = sum(run["prompt_tokens"] for run in runs)
    if asked != prompt_tokens:
        raise ContractError(
            f"{night.path(SCORING_RUNS)}: {asked:,} prompt tokens were asked on ds={night.ds}, but the night's "
            f"questions have {prompt_tokens:,}; score all of its shards, with the settings of now"
        )
    return sum(run["cached_tokens"] for run in runs)


def told(night: Night, config: Settings) -> str:
    """What the night's prompts allow and what its cache had. Raises ContractError where it asked nothing."""
    checkpoint = night.model()
    tokens = Tokens(checkpoint)
    choices = read_choices(night, tokens)
    pairs = prompt_tokens = most = 0
    for number in range(night.buckets):
        # Each bucket begins with an empty cache.
        cache = EndlessCache(config.block_size)
        contexts = night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"], bucket=number)
        for asked in questions(contexts, choices, tokens, max_model_len(checkpoint, config) - 1):
            for question in asked:
                if isinstance(question, Question):
                    pairs += 1
                    prompt_tokens += len(question.prompt)
                    most += cache.ask(question.prompt)
    if not pairs:
        raise ContractError(f"{night.warehouse}: user_contexts has no pair for ds={night.ds}; name a night that scored")
    found = found_tokens(night, prompt_tokens)
    return (
        f"{pairs:,} pairs, {prompt_tokens:,} prompt tokens, {prompt_tokens / pairs:.0f} a pair\n"
        f"most that blocks of {config.block_size} allow: {most:,} ({most / prompt_tokens:.1%})\n"
        f"found in the cache: {found:,} ({found / prompt_tokens:.1%}), {found / max(most, 1):.1%} of the most"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cached_share", description=str(__doc__).split("\n\n")[1]
    )
    parser.add_argument("--ds", type=night_date, required=True, help="the night, YYYY-MM-DD")
    parser.add_argument("--warehouse", default=settings().warehouse, help="default: %(default)s")
    arguments = parser.parse_args()
    config = settings().model_copy(update={"warehouse": arguments.warehouse})
    return exit_status("cached_share", lambda: print(told(Night(config.warehouse, arguments.ds), config)))


if __name__ == "__main__":
    sys.exit(main())
