"""The trainer of answers (a token, or a reason and a token): trl's SFTTrainer with a weight for every row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.data import IGNORED
from training.padding import padded
from training.row_trainer import RowTrainer


class Collator:
    """Pads rows: input_ids and labels are (N, L), weight and played (N,)."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        numbers = {name: torch.tensor([float(row[name]) for row in rows]) for name in ("weight", "played")}
        ids = padded([row["input_ids"] for row in rows], self.pad_id)
        return {"input_ids": ids, "labels": padded([row["labels"] for row in rows], IGNORED), **numbers}


def answer_loss(log_probs: Tensor, played: Tensor, weight: Tensor, not_played: float) -> Tensor:
    """The loss of each row, (N,): −w log p if it was played, −w ν log(1 − p) if not.

    `log_probs` (N,) are those of the rows' completions; ν is `not_played`. A loss of +log p would have no bound: one
    row could take all probability off the option numbers.
    """
    lowered = not_played * torch.log1p(-log_probs.exp().clamp(max=1 - 1e-6))
    return -weight * torch.where(played > 0, log_probs, lowered)


def answer_log_probs(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Log-probability of each row's completion, (N,): the sum over its labelled tokens.

    Only the positions before labelled tokens go through the output layer. trl sends the whole prompt through it, which
    cost a small model more than all its layers.
    """
    wanted = inputs["labels"][:, 1:]
    places = (wanted != IGNORED).any(dim=0).nonzero()[:, 0]
    wanted = wanted[:, places]
    logits = model(input_ids=inputs["input_ids"], use_cache=False, logits_to_keep=places).logits
    of_tokens = logits.float().log_softmax(dim=-1).gather(2, wanted.clamp(min=0)[..., None])[..., 0]
    return torch.where(wanted != IGNORED, of_tokens, 0.0).sum(dim=1)


class AnswerTrainer(RowTrainer):
    """SFT with a weight per row."""

    columns = ("input_ids", "labels", "weight", "played")

    def __init__(self, *, not_played: float, **options: Any) -> None:
        super().__init__(**options)
        self.not_played = not_played

    def row_losses(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        log_probs = answer_log_probs(model, inputs)
        return answer_loss(log_probs, inputs["played"], inputs["weight"], self.not_played)
