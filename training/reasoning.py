"""Supervised fine-tuning on a reason, then the answer. A teacher that knows the answer explains it; the student learns
both. Scoring does not wait for a reason: the model answers with the number at once, and the evaluation shows what that
costs.

With --teacher VERSION a model wrote the reasons (inference/teacher.py). By default there is no model:
`templated_reason` writes a sentence from the user's leading themes and the artwork's true themes (`artworks.themes`).
It stands in for a large model's explanations on a sample; read its results as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow.compute as pc

from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.events import report
from schemas.prompt import ANSWER
from schemas.tables import ARTWORKS, POST_TRAINING_EXAMPLES, TEACHER_REASONS
from training.data import ANSWER_SCHEMA, EXAMPLE, IGNORED, Source, Tokenized, catalogue_themes, key_of, tokenized
from training.settings import TEMPLATED, Reasoning
from training.stage import Stage

TABLES = (POST_TRAINING_EXAMPLES, ARTWORKS, TEACHER_REASONS)
"""The tables that the recipe reads."""
_COLUMNS = [*EXAMPLE, "themes", "context", "choice", "shown", "played", "artwork_ids"]


def templated_reason(leading: list[str], themes: list[str]) -> str:
    """Why a user with these leading themes played an artwork with these themes, in one line."""
    shared = [theme for theme in leading if theme in themes]
    shows = " and ".join(themes) or "none of the known themes"
    if shared:
        return f"Because this user often watches {' and '.join(shared)}, and the artwork plays on {shows}.\n"
    return f"Because the artwork appeals to this user too, though it plays on {shows}.\n"


def templated_reasons(source: Source) -> Callable[[dict[str, Any]], str | None]:
    """The templated reason of an example, as a function."""
    themes = catalogue_themes(source)

    def reason(example: dict[str, Any]) -> str:
        if example["themes"] is None:
            raise ContractError(
                f"{POST_TRAINING_EXAMPLES.name}: the rows for ds={source.ds} have no themes, as an earlier version of "
                "Marquee made them; run the step examples again"
            )
        artwork_id = example["artwork_ids"][example["shown"] - 1]
        return templated_reason(example["themes"], themes.get(artwork_id, []))

    return reason


def teacher_reasons(source: Source, teacher: str) -> Callable[[dict[str, Any]], str | None]:
    """The reason that the model version `teacher` wrote for an example, or None, as a function.

    Raises ContractError if it wrote none for that day.
    """
    found = {}
    if TEACHER_REASONS.name in source.versions:
        rows = source.rows(TEACHER_REASONS, [*EXAMPLE, "reason"], pc.field("model_version") == teacher)
        found = {key_of(row): f"{row['reason']}\n" for row in rows}
    if not found:
        raise ContractError(
            f"{TEACHER_REASONS.name}: no reasons of {teacher} for ds={source.ds}; run `marquee train reasons --ds "
            f"{source.ds} --model FOLDER` first, with the folder of that model's checkpoint"
        )
    return lambda example: found.get(key_of(example))


def reasoned_examples(source: Source, teacher: str) -> Iterator[dict[str, Any]]:
    """Every play with its reason, or None if the teacher wrote none. The choice loses its last line, `Answer: `, as the
    reason comes first.
    """
    reason_of = templated_reasons(source) if teacher == TEMPLATED else teacher_reasons(source, teacher)
    for row in source.training(_COLUMNS):
        if row["played"]:
            yield {**row, "choice": row["choice"].removesuffix(ANSWER), "reason": reason_of(row)}


def with_short_reasons(examples: Iterable[dict[str, Any]], tokens: Tokens, most: int) -> Iterator[dict[str, Any]]:
    """The examples with a reason of at most `most` tokens. Reports the number left out at the end; raises ContractError
    if none is left.
    """
    kept = without = longer = 0
    for example in examples:
        if example["reason"] is None:
            without += 1
        elif len(tokens.ids(example["reason"])) > most:
            longer += 1
        else:
            kept += 1
            yield example
    if without or longer:
        left_out = f"left out {without:,} plays without a reason, {longer:,} of over {most} tokens"
        if not kept:
            raise ContractError(
                f"{POST_TRAINING_EXAMPLES.name}: nothing to learn from: {left_out}, and there are no others; allow "
                "longer reasons (--reason-tokens) or give another --teacher"
            )
        report("reasoning", left_out)


def reason_row(stage: Stage) -> Callable[[dict[str, Any], list[int]], dict[str, Any]]:
    """Prompt, reason, answer, with loss on reason and answer."""
    tokens = stage.tokens

    def row(example: dict[str, Any], prompt: list[int]) -> dict[str, Any]:
        completion = [*tokens.ids(example["reason"] + tokens.form.answer), tokens.labels[example["shown"] - 1]]
        return {
            "input_ids": prompt + completion,
            "labels": [IGNORED] * len(prompt) + completion,
            "weight": 1.0,
            "played": 1.0,
        }

    return row


def training_rows(stage: Stage, recipe: Reasoning) -> Tokenized:
    tokens = stage.tokens
    # Room for the longest reason is kept free, so that history is cut alike whatever the reason's length.
    room = stage.limit - recipe.reason_tokens - len(tokens.ids(tokens.form.answer))
    plays = islice(reasoned_examples(stage.source, recipe.teacher), recipe.limit or None)
    examples = with_short_reasons(plays, tokens, recipe.reason_tokens)
    return tokenized(examples, tokens, room, ANSWER_SCHEMA, reason_row(stage))


def train(stage: Stage, recipe: Reasoning) -> Any:
    from training.sft import make_trainer

    rows = training_rows(stage, recipe)
    report("reasoning", f"{len(rows.rows):,} examples, {rows.too_long} too long, longest {rows.longest} tokens")
    return make_trainer(stage, rows, not_played=0.0)
