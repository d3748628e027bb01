"""The engine's ceiling: `LLM.generate` on ready-made token ids, sorted by user, with the results thrown away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from benchmarks.peers.job import Job, Scored, score_row
from benchmarks.peers.llm import label_sampling, make_llm, probabilities, token_counts
from benchmarks.prompt_bucket import MEASURED, WARM_UP
from inference.tokens import Tokens


def start(job: Job) -> Callable[[date], Scored]:
    from vllm.inputs import TokensPrompt

    tokens = Tokens(job.checkpoint)
    rows = {
        ds: sorted(job.prompts(ds), key=lambda row: (row["user_id"], row["title_id"])) for ds in (WARM_UP, MEASURED)
    }
    ids = {ds: [TokensPrompt(prompt_token_ids=tokens.context(row["prompt"]).ids) for row in rows[ds]] for ds in rows}
    sampling = {ds: [label_sampling(job, row["options"]) for row in rows[ds]] for ds in rows}
    llm = make_llm(job, skip_tokenizer_init=True)

    def run(ds: date) -> Scored:
        outputs = llm.generate(ids[ds], sampling[ds], use_tqdm=False)
        answered = zip(rows[ds], outputs, strict=True)
        return Scored(
            *token_counts(outputs),
            lambda: [score_row(row, probabilities(output, row["options"])) for row, output in answered],
        )

    return run
