"""What became of a bucket's pairs: rows of `artwork_scores`, `rejected_rows` and `scoring_runs`."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from inference.engine import Answer, Refusal
from inference.prior import LabelPrior
from inference.questions import Question, Rejected
from schemas.tables import USER_CONTEXTS

COUNTED = ("pairs", "rejected", "shortened", "prompt_tokens", "cached_tokens")
"""What is counted of a bucket, by the names of `scoring_runs` and of the step's counts."""


def softmax(logprobs: list[float]) -> list[float]:
    """exp(l_i) / Σ exp(l_j): the model's probabilities, given that it names one of the options."""
    most = max(logprobs)
    weights = [math.exp(logprob - most) for logprob in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


@dataclass(frozen=True)
class Bucket:
    """A bucket of the shard: how many pairs are asked in it, and the hash of those pairs."""

    number: int
    pairs: int
    fingerprint: str


@dataclass
class Results:
    """The pairs of one bucket, counted as they are decided. Only the rejected ones are kept."""

    ds: date
    bucket: Bucket
    model_version: str
    prior: LabelPrior = field(default_factory=lambda: LabelPrior({}))
    scored: int = 0
    shortened: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    label_mass: float = 0.0
    rejected: list[Rejected] = field(default_factory=list)
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def reject(self, pair: Rejected) -> None:
        self.rejected.append(pair)

    def take(self, question: Question, answer: Answer | Refusal) -> dict[str, Any] | None:
        """The pair's row of `artwork_scores`, or None if it is rejected."""
        about = {"user_id": question.user_id, "title_id": question.title_id}
        if isinstance(answer, Refusal):
            self.reject(Rejected({**about, "reason": answer.reason}, "engine_refused"))
            return None
        if not all(map(math.isfinite, answer.logprobs)):
            self.reject(Rejected({**about, "logprobs": str(answer.logprobs)}, "probabilities_not_finite"))
            return None
        self.scored += 1
        self.shortened += question.shortened
        self.prompt_tokens += len(question.prompt)
        self.cached_tokens += answer.cached_tokens
        self.label_mass += math.fsum(map(math.exp, answer.logprobs))
        return {
            "ds": self.ds,
            "bucket": self.bucket.number,
            **about,
            "artwork_ids": question.artwork_ids,
            "probabilities": softmax(self.prior.taken_off(answer.logprobs)),
            "model_version": self.model_version,
            "prompt_hash": question.prompt_hash,
        }

    def end(self) -> None:
        """Nothing more comes: every pair that went in must have come out."""
        self.seconds = time.monotonic() - self._began
        if self.scored + len(self.rejected) != self.bucket.pairs:
            raise RuntimeError(
                f"bucket {self.bucket.number}: {self.bucket.pairs} pairs went in, {self.scored} scores and "
                f"{len(self.rejected)} rejected rows came out"
            )

    @property
    def counts(self) -> dict[str, int]:
        values = (self.scored, len(self.rejected), self.shortened, self.prompt_tokens, self.cached_tokens)
        return dict(zip(COUNTED, values, strict=True))

    def rejected_rows(self) -> list[dict[str, Any]]:
        place = {"ds": self.ds, "step": "score", "bucket": self.bucket.number, "source_table": USER_CONTEXTS.name}
        return [{**place, "row": rejected.json, "rule": rejected.rule} for rejected in self.rejected]

    def run_row(self) -> dict[str, Any]:
        return {
            "ds": self.ds,
            "bucket": self.bucket.number,
            **self.counts,
            "label_mass": self.label_mass / self.scored if self.scored else None,
            "seconds": self.seconds,
            "model_version": self.model_version,
            "input_fingerprint": self.bucket.fingerprint,
        }
