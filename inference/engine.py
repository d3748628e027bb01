"""vLLM: the probabilities of the option numbers as the next token, or the text that follows a prompt. No other module
imports vLLM.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from inference.checkpoint import Checkpoint
from inference.devices import take_gpu
from schemas.contract import ContractError
from schemas.settings import Settings

Key = TypeVar("Key")
Result = TypeVar("Result")

# Requests in the engine, in units of one step: one step that runs, and one to run next. A GPU's engine has a process of
# its own, which works on while this one reads answers and submits requests: with two steps it reached 0.70 of the rate
# with all requests submitted at once.
_STEPS_IN_FLIGHT_ON_CPU, _STEPS_IN_FLIGHT_ON_GPU = 2, 8
# The block size on a CPU is a multiple of this.
_CPU_BLOCK = 32

_QUIET_AND_OFFLINE = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
# One process imports torch once instead of three times: start-up takes a third of the time.
_ON_CPU = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}


class EngineError(Exception):
    """The engine cannot start or has died. Finished buckets stay; the shard can be run again."""


class Prompt(NamedTuple, Generic[Key]):
    """A question about `options` options, as token ids, and whether it overtakes all that still wait."""

    key: Key
    ids: list[int]
    options: int
    first: bool = False


@dataclass(frozen=True)
class Answer:
    """The model's answer to one prompt."""

    logprobs: list[float]
    """Natural log of the probability, over the whole vocabulary, of each option number, `1` first."""
    cached_tokens: int
    """Tokens of the prompt that were found in the prefix cache."""


@dataclass(frozen=True)
class Text:
    """The text that the model writes after one prompt."""

    ids: list[int]
    """Its tokens; if it ended before the limit, the last is the end token."""
    cached_tokens: int
    """Tokens of the prompt that were found in the prefix cache."""


@dataclass(frozen=True)
class Refusal:
    """Why the engine did not answer one prompt; the others are not affected."""

    reason: str


@dataclass(frozen=True)
class Request(Generic[Key, Result]):
    """A prompt, its sampling parameters, the function that reads its output, and whether it overtakes those waiting."""

    key: Key
    prompt: list[int]
    sampling: Any
    read: Callable[[Any], Result | Refusal]
    first: bool = False


def max_model_len(checkpoint: Checkpoint, settings: Settings) -> int:
    """Most tokens of a prompt with its answer. Raises ContractError if the setting exceeds the checkpoint's length."""
    if settings.max_model_len is None:
        return checkpoint.max_model_len
    if settings.max_model_len > checkpoint.max_model_len:
        raise ContractError(
            f"MARQUEE_MAX_MODEL_LEN is {settings.max_model_len}, but {checkpoint.path} was made for at most "
            f"{checkpoint.max_model_len} tokens (max_position_embeddings in config.json)"
        )
    return settings.max_model_len


class Engine:
    """One vLLM engine. `labels` are the token ids of the option numbers; `further` are arguments of vLLM's `LLM` that
    have no setting, for measuring. Raises EngineError if vLLM does not start, ContractError if the settings don't fit.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: Settings,
        labels: list[int],
        further: Mapping[str, Any] | None = None,
    ) -> None:
        _set_environment(_QUIET_AND_OFFLINE)
        take_gpu()
        # vLLM's own code warns at import.
        warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        if on_cpu:
            _set_environment({**_ON_CPU, "VLLM_CPU_KVCACHE_SPACE": str(settings.cpu_cache_gib)})
        from vllm import LLM, SamplingParams, exceptions
        from vllm.sampling_params import RequestOutputKind

        try:
            self.llm: Any = LLM(**{**arguments(checkpoint, settings, on_cpu), **(further or {})})
        except Exception as error:
            raise EngineError(f"vLLM did not start with {checkpoint.path}: {error}") from error
        self._engine: Any = self.llm.llm_engine
        steps = _STEPS_IN_FLIGHT_ON_CPU if on_cpu else _STEPS_IN_FLIGHT_ON_GPU
        self.in_flight = steps * settings.max_num_seqs
        self._submitted = 0
        # vLLM raises these when it refuses a request; other errors concern more than one request. Later versions have
        # a class for it; in 0.26, which GPU machines with PyTorch 2.11 still need, a refusal is a ValueError.
        self._refusals = (getattr(exceptions, "VLLMClientError", ValueError), ValueError)
        self._greedy = partial(
            SamplingParams,
            temperature=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            # Deep copies for every request took an eighth of the host's time, and nothing modifies the parameters.
            skip_clone=True,
        )
        # A question about k options requests the log-probabilities of the first k labels.
        self._sampling = [
            self._greedy(max_tokens=1, ignore_eos=True, logprob_token_ids=labels[:options], flat_logprobs=True)
            for options in range(1, len(labels) + 1)
        ]

    def answers(self, prompts: Iterable[Prompt[Key] | None]) -> Iterator[tuple[Key, Answer | Refusal]]:
        """Yield the model's answer to each prompt, as it arrives.

        A None among the prompts means that the next prompt depends on an answer that has not arrived yet.
        """

        def request(prompt: Prompt[Key]) -> Request[Key, Answer]:
            read = partial(_read_answer, options=prompt.options)
            return Request(prompt.key, prompt.ids, self._sampling[prompt.options - 1], read, prompt.first)

        return self.results(None if prompt is None else request(prompt) for prompt in prompts)

    def texts(
        self, prompts: Iterable[tuple[Key, list[int]]], most: int, ends: Iterable[int]
    ) -> Iterator[tuple[Key, Text | Refusal]]:
        """Continue each (key, token ids) with the likeliest tokens, up to a token of `ends` and at most `most` tokens;
        yield each text as it is finished.
        """
        sampling = self._greedy(max_tokens=most, stop_token_ids=sorted(ends))
        return self.results(Request(key, prompt, sampling, _read_text) for key, prompt in prompts)

    def results(self, requests: Iterable[Request[Key, Result] | None]) -> Iterator[tuple[Key, Result | Refusal]]:
        """Yield the engine's result of each request, as it is finished.

        It begins with an empty prefix cache and submits requests before every step until the engine has enough, even
        if it must wait for them. On a CPU the same requests therefore give the same steps and the same bits, whenever
        they are made. A GPU's engine runs in parallel in its own process: its steps contain the requests that have
        arrived, and the last bits of an answer depend on them.
        """
        self._engine.reset_prefix_cache()
        waiting: dict[str, Request[Key, Result]] = {}
        more = iter(requests)
        try:
            while True:
                while len(waiting) < self.in_flight and (request := next(more, None)) is not None:
                    try:
                        waiting[self._submit(request)] = request
                    except self._refusals as error:
                        yield request.key, Refusal(str(error))
                if not waiting:
                    return
                for output in self._step():
                    request = waiting.pop(output.request_id)
                    yield request.key, request.read(output)
        finally:
            # If the consumer stopped early, no request may be left for the next call.
            self._engine.abort_request(list(waiting))

    def _submit(self, request: Request[Key, Result]) -> str:
        self._submitted += 1
        name = str(self._submitted)
        self._engine.add_request(
            name,
            {"type": "token", "prompt_token_ids": request.prompt},
            request.sampling,
            # At equal priority the earlier goes first. A clock could give two requests the same time, or go back.
            arrival_time=float(self._submitted),
            priority=0 if request.first else 1,
        )
        return name

    def _step(self) -> list[Any]:
        try:
            return [output for output in self._engine.step() if output.finished]
        except Exception as error:
            raise EngineError(f"vLLM died while scoring: {error}") from error


StartEngine = Callable[[Checkpoint, Settings, list[int]], Engine]
"""Starts an engine with these labels: `Engine` itself, unless a test or a benchmark passes a running one."""


def arguments(checkpoint: Checkpoint, settings: Settings, on_cpu: bool) -> dict[str, Any]:
    """The arguments of vLLM's `LLM`. Raises ContractError if the processor does not support the settings."""
    steps = settings.steps(on_cpu)
    if on_cpu and checkpoint.quantization != "none":
        raise ContractError(
            f"{checkpoint.version} scores in {checkpoint.quantization}, which needs a GPU, and vLLM runs on the CPU "
            "here: score it on a machine with a GPU, or unset MARQUEE_QUANTIZATION"
        )
    found: dict[str, Any] = {
        "model": str(checkpoint.path),
        # Its inputs are token ids, its outputs log-probabilities or token ids.
        "skip_tokenizer_init": True,
        # Ignore sampling defaults that a checkpoint may contain.
        "generation_config": "vllm",
        "dtype": _dtype(settings, on_cpu),
        "block_size": steps.block_size,
        "enable_prefix_caching": True,
        "max_model_len": max_model_len(checkpoint, settings),
        "max_num_batched_tokens": steps.max_num_batched_tokens,
        "max_num_seqs": settings.max_num_seqs,
        "scheduling_policy": "priority",
        "seed": 0,
        "use_tqdm_on_load": False,
    }
    if not on_cpu:
        found["gpu_memory_utilization"] = settings.gpu_memory_utilization
        if checkpoint.quantization != "none":
            found["quantization"] = checkpoint.quantization
        return found
    if steps.block_size % _CPU_BLOCK:
        raise ContractError(f"MARQUEE_BLOCK_SIZE is {steps.block_size}; on a CPU it must be a multiple of {_CPU_BLOCK}")
    # Nothing is compiled for a CPU: it takes longer than it saves.
    return {**found, "enforce_eager": True, "distributed_executor_backend": "uni"}


def _dtype(settings: Settings, on_cpu: bool) -> Literal["auto", "float32", "bfloat16", "float16"]:
    # vLLM's own "auto" scores a model trained in float32 in bfloat16, whose logits have 8 bits. On a CPU with
    # AVX512-BF16, float32 costs a 10 M model a quarter more time and a smaller one nothing, and the result is the same
    # on every CPU.
    if settings.dtype == "auto" and on_cpu:
        return "float32"
    return settings.dtype


def _read_answer(output: Any, options: int) -> Answer | Refusal:
    completion = output.outputs[0]
    if completion.finish_reason == "error" or not completion.logprobs:
        return Refusal("the engine returned no log-probabilities")
    # The sampled token comes first, then the labels in the order in which they were requested.
    return Answer(completion.logprobs.logprobs[1 : options + 1], output.num_cached_tokens or 0)


def _read_text(output: Any) -> Text | Refusal:
    completion = output.outputs[0]
    if completion.finish_reason == "error":
        return Refusal("the engine ended with an error")
    return Text(list(completion.token_ids), output.num_cached_tokens or 0)


def _set_environment(values: dict[str, str]) -> None:
    """Set variables, except those that the user has set."""
    for name, value in values.items():
        os.environ.setdefault(name, value)
