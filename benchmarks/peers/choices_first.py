"""Marquee with the texts the other way round: title by title, the choice first and each user's context after it.

The line to be answered stays the last. So prompts have a title's choice in common, and not a user's context.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

from schemas.words import ANSWER

from benchmarks.peers.job import Job, Scored
from benchmarks.peers.marquee import scoring
from benchmarks.peers.title_by_title import title_by_title
from inference.engine import Engine
from inference.questions import Choice, Choices, Question, Rejected
from inference.tokens import Tokens


def start(job: Job) -> Callable[[date], Scored]:
    # The beginning of text, where the model has one, stays in front.
    kept = 0 if job.checkpoint.bos_token_id is None else 1

    def asked(
        contexts: Iterable[dict[str, Any]], choices: Choices, tokens: Tokens, limit: int, further_orders: int
    ) -> Iterator[list[Question | Rejected]]:
        answer = tokens.ids(ANSWER)
        for group in title_by_title(contexts, choices, tokens, limit, further_orders):
            yield [choice_first(each, kept, answer) if isinstance(each, Question) else each for each in group]

    return scoring(job, Engine(job.checkpoint, job.settings, job.labels), job.settings, asked)


def choice_first(question: Question, kept: int, answer: list[int]) -> Question:
    """The same tokens, with the first `kept` still first and the line `answer` still last."""
    context, orders = question.context, question.orders
    body = orders[0].ids.tolist()[: -len(answer)]
    after = Choice(orders[0].artwork_ids, array("i", context[kept:] + answer))
    return replace(question, context=context[:kept] + body, orders=[after])
