"""Scores a bucket's questions with an engine: each pair once, and a close pair again in further rotations."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from inference.engine import Answer, Engine, Prompt, Refusal
from inference.progress import ScoringProgress
from inference.questions import Question, Rejected
from inference.results import Results

Item = Question | Rejected
PromptKey = tuple[Question, tuple[Answer | Refusal, ...]]
"""A question, and the answers in the rotations before this one."""


class BucketScorer:
    """Sends a bucket's questions to an engine and collects the answers.

    The next rotation of a close pair overtakes all other questions, while its context is still in the prefix cache.
    """

    def __init__(self, items: Iterator[Item], results: Results, progress: ScoringProgress) -> None:
        self._items, self._results, self._progress = items, results, progress
        self._again: deque[PromptKey] = deque()
        self._undecided = 0

    def scores(self, engine: Engine | None) -> Iterator[dict[str, Any]]:
        """Rows of `artwork_scores`, in the order in which the engine answers; without an engine there are none."""
        for (question, earlier), answer in engine.answers(self._prompts()) if engine else ():
            row = self._take(question, (*earlier, answer))
            if row is not None:
                yield row

    def _prompts(self) -> Iterator[Prompt[PromptKey] | None]:
        for item in self._items:
            while self._again:
                yield _prompt(self._again.popleft())
            if isinstance(item, Rejected):
                self._results.reject(item)
                self._progress.add(1)
            else:
                self._undecided += 1
                yield _prompt((item, ()))
        while self._undecided:
            yield _prompt(self._again.popleft()) if self._again else None

    def _take(self, question: Question, answers: tuple[Answer | Refusal, ...]) -> dict[str, Any] | None:
        """The pair's row, if this was its last answer."""
        last = answers[-1]
        tokens = question.tokens(len(answers) - 1), last.cached_tokens if isinstance(last, Answer) else 0
        if self._results.needs_rotation(question, answers):
            self._again.append((question, answers))
            self._progress.add(0, *tokens)
            return None
        self._undecided -= 1
        self._progress.add(1, *tokens)
        return self._results.take(question, answers)


def _prompt(key: PromptKey) -> Prompt[PromptKey]:
    question, earlier = key
    return Prompt(key, question.prompt_in(len(earlier)), len(question.artwork_ids), first=bool(earlier))
