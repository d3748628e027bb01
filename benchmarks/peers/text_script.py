"""The usual script: one text prompt per pair in the table's order, up to 8 generated tokens, a regular expression.

Once with a cache that holds every context, and once with a cache that holds a twentieth of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import partial

from benchmarks.peers.job import Job, Scored, score_row
from benchmarks.peers.llm import make_llm, token_counts

_TOKENS = 8
# Twice the contexts, for the choices take room too.
LARGE = 2.0
SMALL = 1 / 20
# vLLM needs room for one prompt of this many tokens to start.
_LONGEST = 512


def cache_blocks(context_tokens: int, share: float, block_size: int) -> int:
    """Blocks of a cache for that share of the contexts, at least one prompt's, plus the one that vLLM reserves."""
    return max(int(context_tokens * share), _LONGEST) // block_size + 1


def parsed(text: str, options: int) -> int | None:
    """The first option number in `text`; the longest where several begin at the same place."""
    found = re.search("|".join(str(number) for number in range(options, 0, -1)), text)
    return int(found[0]) if found else None


def _start(job: Job, share: float) -> Callable[[date], Scored]:
    from vllm import SamplingParams

    blocks = cache_blocks(job.context_tokens, share, job.settings.steps(on_cpu=True).block_size)
    llm = make_llm(job, num_gpu_blocks_override=blocks, max_model_len=_LONGEST)
    sampling = SamplingParams(max_tokens=_TOKENS, temperature=0)

    def run(ds: date) -> Scored:
        rows = job.prompts(ds)
        outputs = llm.generate([row["prompt"] for row in rows], sampling, use_tqdm=False)
        answers = [
            score_row(row, None, parsed(output.outputs[0].text, row["options"]))
            for row, output in zip(rows, outputs, strict=True)
        ]
        return Scored(*token_counts(outputs), job.keep(ds, answers))

    return run


start_large, start_small = partial(_start, share=LARGE), partial(_start, share=SMALL)
