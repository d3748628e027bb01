"""One text prompt per pair: the usual script, and the strongest simple rival, which sorts its prompts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from operator import itemgetter

from benchmarks.peers.job import Job, Scored, score_row
from benchmarks.peers.llm import label_sampling, make_llm, probabilities, text_sampling, token_counts


def parsed(text: str, options: int) -> int | None:
    """The first option number in `text`; the longest if several begin at the same place."""
    found = re.search("|".join(str(number) for number in range(options, 0, -1)), text)
    return int(found[0]) if found else None


def start_script(job: Job) -> Callable[[date], Scored]:
    """The usual script: the table's order, up to 8 generated tokens, a regular expression."""
    llm, sampling = make_llm(job), text_sampling()

    def run(ds: date) -> Scored:
        rows = job.prompts(ds)
        outputs = llm.generate([row["prompt"] for row in rows], sampling, use_tqdm=False)
        answered = zip(rows, outputs, strict=True)
        kept = [score_row(row, None, parsed(output.outputs[0].text, row["options"])) for row, output in answered]
        return Scored(*token_counts(outputs), job.keep(ds, kept))

    return run


def start_sorted(job: Job) -> Callable[[date], Scored]:
    """One `LLM.generate` over all prompts, sorted, with the same probabilities as Marquee."""
    llm = make_llm(job)

    def run(ds: date) -> Scored:
        rows = sorted(job.prompts(ds), key=itemgetter("prompt"))
        sampling = [label_sampling(job, row["options"]) for row in rows]
        outputs = llm.generate([row["prompt"] for row in rows], sampling, use_tqdm=False)
        answered = zip(rows, outputs, strict=True)
        kept = [score_row(row, probabilities(output, row["options"])) for row, output in answered]
        return Scored(*token_counts(outputs), job.keep(ds, kept))

    return run
