"""The strongest simple rival: one `LLM.generate` over all text prompts, sorted, with the same probabilities."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from operator import itemgetter

from benchmarks.peers.job import Job, Scored, score_row
from benchmarks.peers.llm import label_sampling, make_llm, probabilities, token_counts


def start(job: Job) -> Callable[[date], Scored]:
    llm = make_llm(job)

    def run(ds: date) -> Scored:
        rows = sorted(job.prompts(ds), key=itemgetter("prompt"))
        sampling = [label_sampling(job, row["options"]) for row in rows]
        outputs = llm.generate([row["prompt"] for row in rows], sampling, use_tqdm=False)
        answered = zip(rows, outputs, strict=True)
        kept = job.keep(ds, [score_row(row, probabilities(output, row["options"])) for row, output in answered])
        return Scored(*token_counts(outputs), kept)

    return run
