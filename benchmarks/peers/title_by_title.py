"""The pairs of a night in a naive order: all users of a title, then all of the next, each after its own context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any

from inference.questions import Choices, Question, Rejected, questions
from inference.tokens import Tokens


def title_by_title(
    contexts: Iterable[dict[str, Any]], choices: Choices, tokens: Tokens, limit: int, further_orders: int = 0
) -> Iterator[list[Question | Rejected]]:
    """What `questions` asks, a title's pairs side by side. Holds all of them: a table in this order would not."""
    asked = chain.from_iterable(questions(contexts, choices, tokens, limit, further_orders))
    for _, group in groupby(sorted(asked, key=title_of), key=title_of):
        yield list(group)


def title_of(asked: Question | Rejected) -> str:
    return asked.title_id if isinstance(asked, Question) else str(asked.row["title_id"])
