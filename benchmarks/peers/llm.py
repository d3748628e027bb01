"""vLLM's `LLM` for the sides that use it, with the engine settings of Marquee's own engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.job import Job
from inference.engine import arguments
from inference.results import softmax

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams


def engine_arguments(job: Job) -> dict[str, Any]:
    """The arguments that inference/engine.py gives vLLM on a CPU, without the model. Prompts here are text."""
    own = arguments(job.checkpoint, job.settings, on_cpu=True)
    return {name: value for name, value in own.items() if name not in ("model", "skip_tokenizer_init")}


def make_llm(job: Job) -> LLM:
    from vllm import LLM

    return LLM(model=job.settings.model, **engine_arguments(job))


def label_sampling(job: Job, options: int) -> SamplingParams:
    """One token, and the log-probabilities of the first `options` labels."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=1,
        temperature=0,
        ignore_eos=True,
        logprob_token_ids=job.labels[:options],
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def text_sampling(**others: Any) -> SamplingParams:
    """Up to 8 tokens of text."""
    from vllm import SamplingParams

    return SamplingParams(max_tokens=8, temperature=0, **others)


def probabilities(output: RequestOutput, options: int) -> list[float]:
    """Probabilities over the options, with `label_sampling`: vLLM lists the sampled token first, then the labels."""
    logprobs: Any = output.outputs[0].logprobs
    return softmax(logprobs.logprobs[1 : options + 1])


def token_counts(outputs: list[RequestOutput]) -> tuple[int, int]:
    """Tokens of all prompts, and tokens computed: uncached ones, and generated ones except each last one."""
    prompt = sum(len(output.prompt_token_ids or ()) for output in outputs)
    cached = sum(output.num_cached_tokens or 0 for output in outputs)
    generated = sum(len(output.outputs[0].token_ids) - 1 for output in outputs)
    return prompt, prompt - cached + generated
