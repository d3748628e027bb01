"""A bucket's questions on their way through the engine: each pair once, and a close one again in other orders."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from inference.engine import Answer, Engine, Prompt, Refusal
from inference.progress import ScoringProgress
from inference.questions import Question, Rejected
from inference.results import Results

Asked = Question | Rejected
AskedKey = tuple[Question, tuple[Answer | Refusal, ...]]
"""A question, and what was answered to the orders before the one that is asked."""


class Asking:
    """What a bucket's pairs are asked, given to an engine and taken from it.

    The next order of a close pair goes before all other questions, while its context is still in the prefix cache.
    """

    def __init__(self, asked: Iterator[Asked], results: Results, progress: ScoringProgress) -> None:
        self._asked, self._results, self._progress = asked, results, progress
        self._again: deque[AskedKey] = deque()
        self._undecided = 0

    def scores(self, engine: Engine | None) -> Iterator[dict[str, Any]]:
        """Rows of `artwork_scores`, in the order in which the engine answers; none where nothing is asked of one."""
        for (question, earlier), answer in engine.answers(self._prompts()) if engine else ():
            row = self._take(question, (*earlier, answer))
            if row is not None:
                yield row

    def _prompts(self) -> Iterator[Prompt[AskedKey] | None]:
        for item in self._asked:
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
        """The pair's row, if this answer decides it."""
        last = answers[-1]
        tokens = question.tokens(len(answers) - 1), last.cached_tokens if isinstance(last, Answer) else 0
        if self._results.asks_again(question, answers):
            self._again.append((question, answers))
            self._progress.add(0, *tokens)
            return None
        self._undecided -= 1
        self._progress.add(1, *tokens)
        return self._results.take(question, answers)


def _prompt(key: AskedKey) -> Prompt[AskedKey]:
    question, earlier = key
    return Prompt(key, question.prompt_in(len(earlier)), len(question.artwork_ids), first=bool(earlier))
