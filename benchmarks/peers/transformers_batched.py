"""`transformers` with padded batches, longest prompts first, and the logits of the same labels."""

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

    @torch.inference_mode()
    def run(ds: date) -> Scored:
        rows = sorted(job.prompts(ds), key=lambda row: -len(row["prompt"]))
        kept: list[dict[str, Any]] = []
        prompt_tokens = 0
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            batch = tokenizer([row["prompt"] for row in some], padding=True, return_tensors="pt")
            mask = batch["attention_mask"]
            # No logits but the last position's are read.
            found = model(batch["input_ids"], attention_mask=mask, logits_to_keep=1, use_cache=False)
            prompt_tokens += int(mask.sum())
            for row, values in zip(some, found.logits[:, -1, labels].tolist(), strict=True):
                kept.append(score_row(row, softmax(values[: row["options"]])))
        return Scored(prompt_tokens, prompt_tokens, job.keep(ds, kept))

    return run
