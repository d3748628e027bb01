"""Marquee with an engine that classifies instead of generating: a pooling model whose classes are the option numbers.

vLLM makes it of the same weights: its head is the lm_head's rows of those tokens, so that no logits of the rest of the
vocabulary are computed and nothing is sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import partial
from typing import Any
from unittest import mock

from tokenizers import Tokenizer

from benchmarks.peers.job import Job, Scored
from benchmarks.peers.marquee import scoring
from inference.engine import Answer, Engine, Key, Prompt, Refusal, Request
from inference.results import softmax


class Classifier(Engine):
    """Asked as the engine is. Its log-probabilities are over the option numbers, not over the whole vocabulary."""

    def answers(self, prompts: Iterable[Prompt[Key] | None]) -> Iterator[tuple[Key, Answer | Refusal]]:
        from vllm import PoolingParams

        pooling = PoolingParams(task="classify", use_activation=False)

        def request(prompt: Prompt[Key]) -> Request[Key, Answer]:
            return Request(prompt.key, prompt.ids, pooling, partial(_read, options=prompt.options), prompt.first)

        return self.said(None if prompt is None else request(prompt) for prompt in prompts)


def start(job: Job) -> Callable[[date], Scored]:
    import vllm

    tokenizer = Tokenizer.from_file(str(job.checkpoint.path / "tokenizer.json"))
    head = {
        "architectures": ["LlamaForSequenceClassification"],
        "method": "no_post_processing",
        "classifier_from_token": [tokenizer.id_to_token(label) for label in job.labels],
    }
    pooling = partial(vllm.LLM, runner="pooling", hf_overrides=head)
    with mock.patch.object(vllm, "LLM", pooling):
        engine = Classifier(job.checkpoint, job.settings, job.labels)
    return scoring(job, engine, job.settings)


def _read(output: Any, options: int) -> Answer:
    logprobs = [math.log(each) for each in softmax(output.outputs.data.tolist())]
    return Answer(logprobs[:options], output.num_cached_tokens or 0)
