"""The trainer of outcomes, played or not, and of what a reward model makes of them: trl's SFTTrainer on prompts without
answers, with a loss on the distribution over a prompt's options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.data import Tokenized
from training.padding import padded
from training.preferences import next_token
from training.row_trainer import RowTrainer, options_of
from training.stage import Stage

Loss = Callable[[Tensor, dict[str, Tensor]], Tensor]
"""(log-probabilities of the options (N, K), batch) → the loss of each row (N,), before its weight."""


class Collator:
    """Pads rows: input_ids (N, L) and ends (N,), the place of each prompt's last token; option_ids and is_option
    (N, K), the options' tokens and whether there is an option; shown, played, level and weight (N,); and target
    (N, K), if rows have it.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        prompts = [row["input_ids"] for row in rows]
        counts = torch.tensor([[len(row["option_ids"])] for row in rows])
        option_ids = padded([row["option_ids"] for row in rows], 0)
        numbers = {name: torch.tensor([float(row[name]) for row in rows]) for name in ("played", "level", "weight")}
        batch = {
            "input_ids": padded(prompts, self.pad_id),
            "ends": torch.tensor([len(prompt) - 1 for prompt in prompts]),
            "option_ids": option_ids,
            "is_option": torch.arange(option_ids.shape[1]) < counts,
            "shown": torch.tensor([row["shown"] for row in rows]),
            **numbers,
        }
        if "target" in rows[0]:
            targets = [torch.tensor(row["target"]) for row in rows]
            batch["target"] = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)
        return batch


def binary_loss(log_probs: Tensor, batch: dict[str, Tensor], scale: float) -> Tensor:
    """Cross-entropy of played or not, (N,): P(play) = sigmoid(level + s (log π(shown) - mean over options of log π)).

    The mean takes off what the options share, and the level is what is known of title and user; s is `scale`, the
    log-odds of a play per unit of log-probability.
    """
    options = batch["is_option"]
    mean = log_probs.masked_fill(~options, 0.0).sum(dim=1) / options.sum(dim=1)
    logits = batch["level"] + scale * (_of_shown(log_probs, batch) - mean)
    return functional.binary_cross_entropy_with_logits(logits, batch["played"], reduction="none")


def advantage_loss(log_probs: Tensor, batch: dict[str, Tensor], temperature: float) -> Tensor:
    """-exp((r - q) / λ) log π(shown), (N,): r is 1 for a play, q = sigmoid(level) the expected play, λ `temperature`.

    Advantage-weighted regression (Peng et al., arXiv 1910.00177) for one choice, with log π over the whole vocabulary.
    """
    advantage = batch["played"] - batch["level"].sigmoid()
    return -(advantage / temperature).exp() * _of_shown(log_probs, batch)


def distillation_loss(log_probs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """KL(target ‖ π), (N,): 0 where the model answers as the target does, and leaves nothing on other tokens."""
    target = batch["target"]
    apart = target.clamp_min(torch.finfo(target.dtype).tiny).log() - log_probs.masked_fill(~batch["is_option"], 0.0)
    return (target * apart).sum(dim=1)


def _of_shown(log_probs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return log_probs.gather(1, batch["shown"][:, None])[:, 0]


class OutcomeTrainer(RowTrainer):
    """Rows (input_ids, option_ids, shown, played, level, weight, and target where `loss` has one) with `loss`. Logs
    label_mass, the probability that is left on a prompt's option numbers.
    """

    model: Any
    columns = ("input_ids", "option_ids", "shown", "played", "level", "weight", "target")

    def __init__(self, *, loss: Loss, **options: Any) -> None:
        super().__init__(**options)
        self.loss = loss

    def row_losses(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        log_probs = next_token(model, inputs).gather(1, inputs["option_ids"])
        mass = log_probs.detach().exp().masked_fill(~inputs["is_option"], 0.0).sum(dim=1)
        self._metrics["train" if self.model.training else "eval"]["label_mass"].append(
            self.accelerator.gather(mass).mean().item()
        )
        return inputs["weight"] * self.loss(log_probs, inputs)


def make_trainer(stage: Stage, rows: Tokenized, loss: Loss) -> OutcomeTrainer:
    """The trainer of a recipe that learns from outcomes, before its first step."""
    return OutcomeTrainer(loss=loss, **options_of(stage, rows, Collator))
