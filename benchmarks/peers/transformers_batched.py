"""`transformers` with padded batches, the longest prompts first, and the same labels' logits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from benchmarks.peers.job import Job, Scored, score_row
from inference.results import softmax

_BATCH = 32


def start(job: Job) -> Callable[[date], Scored]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32).eval()
    labels = torch.tensor(job.labels)

    def logits(prompts: list[str]) -> tuple[Any, int]:
        batch = tokenizer(prompts, padding=True, return_tensors="pt")
        # The last position's alone: no other is read.
        found = model(batch["input_ids"], attention_mask=batch["attention_mask"], logits_to_keep=1, use_cache=False)
        return found.logits[:, -1, labels], int(batch["attention_mask"].sum())

    @torch.inference_mode()
    def run(ds: date) -> Scored:
        rows = sorted(job.prompts(ds), key=lambda row: -len(row["prompt"]))
        kept: list[dict[str, Any]] = []
        prompt_tokens = 0
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            found, tokens = logits([row["prompt"] for row in some])
            prompt_tokens += tokens
            for row, values in zip(some, found.tolist(), strict=True):
                kept.append(score_row(row, softmax(values[: row["options"]])))
        return Scored(prompt_tokens, prompt_tokens, job.keep(ds, kept))

    return run
