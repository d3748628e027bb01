"""The results of a bucket's pairs: rows of a job's scores, of `rejected_rows` and of the job's runs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from inference.engine import Answer, Refusal
from inference.job import ScoringJob
from inference.prior import LabelPrior
from inference.questions import Question, Rejected
from inference.rotations import is_close, mean_logprobs

COUNTED = ("pairs", "rejected", "shortened", "asked_again", "prompt_tokens", "cached_tokens")
"""The counts of a bucket, by their names in `scoring_runs` and in the step's counts."""


def softmax(logprobs: list[float]) -> list[float]:
    """exp(l_i) / Σ exp(l_j): the model's probabilities, given that it answers with one of the options."""
    most = max(logprobs)
    weights = [math.exp(logprob - most) for logprob in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


@dataclass(frozen=True)
class Bucket:
    """A bucket of the shard: its number of pairs to score, and the hash of those pairs."""

    number: int
    pairs: int
    fingerprint: str


@dataclass
class Results:
    """The pairs of one bucket, counted as they are decided. Only the rejected ones are kept in memory.

    A pair whose two most probable artworks, in its own rotation, differ by at most `close_margin` is scored in all its
    rotations.
    """

    job: ScoringJob
    bucket: Bucket
    model_version: str
    prior: LabelPrior
    close_margin: float
    scored: int = 0
    shortened: int = 0
    asked_again: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    label_mass: float = 0.0
    rejected: list[Rejected] = field(default_factory=list)
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def reject(self, pair: Rejected) -> None:
        self.rejected.append(pair)

    def needs_rotation(self, question: Question, answers: Sequence[Answer | Refusal]) -> bool:
        """Whether the pair is to be scored in its next rotation, after these `answers`."""
        first, last = answers[0], answers[-1]
        if len(answers) == len(question.rotations) or not (_usable(first) and _usable(last)):
            return False
        return len(answers) > 1 or is_close(softmax(self.prior.subtracted(first.logprobs)), self.close_margin)

    def take(self, question: Question, answers: Sequence[Answer | Refusal]) -> dict[str, Any] | None:
        """The pair's row of scores from its answers, one per rotation scored; None if the pair is rejected."""
        given = [answer for answer in answers if _usable(answer)]
        if len(given) < len(answers):
            # An unusable answer is always the last one.
            self.reject(_unusable(question.pair, answers[-1]))
            return None
        self.scored += 1
        self.shortened += question.shortened
        self.asked_again += len(given) > 1
        self.prompt_tokens += sum(question.tokens(rotation) for rotation in range(len(given)))
        self.cached_tokens += sum(answer.cached_tokens for answer in given)
        self.label_mass += math.fsum(math.exp(each) for answer in given for each in answer.logprobs) / len(given)
        rotations = zip(question.rotations, given, strict=False)
        logprobs = mean_logprobs([(each.artwork_ids, self.prior.subtracted(to.logprobs)) for each, to in rotations])
        return {
            "ds": self.job.ds,
            "bucket": self.bucket.number,
            **question.pair,
            "artwork_ids": question.artwork_ids,
            "probabilities": softmax(logprobs),
            "model_version": self.model_version,
            "prompt_hash": question.prompt_hash,
        }

    def end(self) -> None:
        """Stop the clock and check that every pair that went in came out. Raises RuntimeError if not."""
        self.seconds = time.monotonic() - self._began
        if self.scored + len(self.rejected) != self.bucket.pairs:
            raise RuntimeError(
                f"bucket {self.bucket.number}: {self.bucket.pairs} pairs went in, {self.scored} scores and "
                f"{len(self.rejected)} rejected rows came out"
            )

    @property
    def counts(self) -> dict[str, int]:
        tokens = self.prompt_tokens, self.cached_tokens
        values = (self.scored, len(self.rejected), self.shortened, self.asked_again, *tokens)
        return dict(zip(COUNTED, values, strict=True))

    def rejected_rows(self) -> list[dict[str, Any]]:
        source = self.job.contexts.name
        place = {"ds": self.job.ds, "step": self.job.step, "bucket": self.bucket.number, "source_table": source}
        return [{**place, "row": rejected.json, "rule": rejected.rule} for rejected in self.rejected]

    def run_row(self) -> dict[str, Any]:
        return {
            "ds": self.job.ds,
            "bucket": self.bucket.number,
            **self.counts,
            "label_mass": self.label_mass / self.scored if self.scored else None,
            "seconds": self.seconds,
            "model_version": self.model_version,
            "input_fingerprint": self.bucket.fingerprint,
        }


def _usable(answer: Answer | Refusal) -> TypeGuard[Answer]:
    return isinstance(answer, Answer) and all(map(math.isfinite, answer.logprobs))


def _unusable(about: dict[str, str], answer: Answer | Refusal) -> Rejected:
    if isinstance(answer, Refusal):
        return Rejected({**about, "reason": answer.reason}, "engine_refused")
    return Rejected({**about, "logprobs": str(answer.logprobs)}, "probabilities_not_finite")
