"""python -m training.reasoning --ds 2026-01-14 --base examples/tiny_llama --out warehouse/post_training/reasoning

Supervised fine-tuning on a reason, then the answer. A teacher that knows the answer explains it; the student learns
both. At night nobody waits for a reason: the model is asked for the number at once, and the evaluation tells what that
costs.

The teacher here is no model: `templated_reason` writes a sentence from the user's leading themes and the artwork's true
themes (`artworks.themes`). It stands in for a large model's explanations, and its results are to be read as such.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from schemas.tables import ARTWORKS, POST_TRAINING_EXAMPLES
from schemas.words import ANSWER
from training.command import command
from training.data import ANSWER_SCHEMA, IGNORED, Source, Tokenized, catalogue_themes, tokenized
from training.settings import Reasoning
from training.stage import Stage

_COLUMNS = ["context", "choice", "shown", "played", "artwork_ids"]
_THEMES_LINE = "Leading themes: "


def templated_reason(leading: list[str], themes: list[str]) -> str:
    """Why a user with these leading themes played an artwork with these themes, in one line."""
    shared = [theme for theme in leading if theme in themes]
    shows = " and ".join(themes) or "none of the known themes"
    if shared:
        return f"Because this user often watches {' and '.join(shared)}, and the artwork plays on {shows}.\n"
    return f"Because the artwork appeals to this user too, though it plays on {shows}.\n"


def leading_themes(context: str) -> list[str]:
    """The leading themes that a context names."""
    for line in context.splitlines():
        if line.startswith(_THEMES_LINE):
            return line.removeprefix(_THEMES_LINE).split(", ")
    return []


def reasoned_examples(source: Source) -> Iterator[dict[str, Any]]:
    """Every play with its reason. The choice loses its last line, where the answer would follow at once."""
    themes = catalogue_themes(source)
    for row in source.training(_COLUMNS):
        if row["played"]:
            artwork_id = row["artwork_ids"][row["shown"] - 1]
            reason = templated_reason(leading_themes(row["context"]), themes.get(artwork_id, []))
            yield {**row, "choice": row["choice"].removesuffix(ANSWER), "reason": reason}


def reason_row(stage: Stage) -> Callable[[dict[str, Any], list[int]], dict[str, Any]]:
    """Prompt, reason, answer, with loss on reason and answer."""
    tokens = stage.tokens

    def row(example: dict[str, Any], prompt: list[int]) -> dict[str, Any]:
        completion = [*tokens.ids(example["reason"] + ANSWER), tokens.labels[example["shown"] - 1]]
        return {
            "input_ids": prompt + completion,
            "labels": [IGNORED] * len(prompt) + completion,
            "weight": 1.0,
            "played": 1.0,
        }

    return row


def training_rows(stage: Stage, recipe: Reasoning) -> Tokenized:
    # What a reason takes is kept free, so that the same history is lost as for the longest of them.
    room = stage.limit - recipe.reason_tokens
    examples = (
        row for place, row in enumerate(reasoned_examples(stage.source)) if not recipe.limit or place < recipe.limit
    )
    return tokenized(examples, stage.tokens, room, ANSWER_SCHEMA, reason_row(stage))


def train(stage: Stage, recipe: Reasoning) -> Any:
    from training.sft import make_trainer

    rows = training_rows(stage, recipe)
    print(
        f"reasoning: {len(rows.rows):,} examples, {rows.too_long} too long, longest {rows.longest} tokens", flush=True
    )
    return make_trainer(stage, recipe, rows, not_played=0.0)


def main(arguments: list[str] | None = None) -> int:
    return command("reasoning", __doc__ or "", Reasoning, train, [POST_TRAINING_EXAMPLES, ARTWORKS], arguments)


if __name__ == "__main__":
    sys.exit(main())
