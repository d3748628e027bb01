"""The trainer of preference pairs: trl's DPOTrainer for answers of one token; it reads each prompt only once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from trl import DPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from training.padding import padded


class Collator:
    """Pads prompts: input_ids (N, L), and the position of each prompt's last token, ends (N,); then chosen (N, 1), and
    rejected and weights (N, M), with weight 0 where a row has fewer than M rejected tokens.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        prompts = [row["prompt_ids"] for row in rows]
        weights = torch.nn.utils.rnn.pad_sequence([torch.tensor(row["weights"]) for row in rows], batch_first=True)
        return {
            "input_ids": padded(prompts, self.pad_id),
            "ends": torch.tensor([len(prompt) - 1 for prompt in prompts]),
            "chosen": torch.tensor([row["chosen_ids"] for row in rows]),
            "rejected": padded([row["rejected_ids"] for row in rows], 0),
            "weights": weights,
        }


class PreferenceTrainer(DPOTrainer):
    """DPO on pre-tokenized rows (prompt_ids, chosen_ids, rejected_ids, weights), each answer of one token.

    trl cannot do that: it would render the prompt anew and end each answer with an end-of-text token, which scoring
    never sees, and it reads every prompt twice for each pair, though one distribution over the next token has all the
    answers. DPO only moves options apart, so it may lower them all: `label_mass` is the probability that is left on all
    option numbers (`labels`).
    """

    model: Any

    def __init__(self, *, labels: list[int], **options: Any) -> None:
        super().__init__(**options)
        self.labels = labels

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns: Any = ["prompt_ids", "chosen_ids", "rejected_ids", "weights"]

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        """−log sigmoid(β (log π(c) − log π_ref(c) − log π(r) + log π_ref(r))) (Rafailov et al., arXiv 2305.18290): the
        weighted sum over the pairs of a prompt, then the mean over the batch.
        """
        log_probs = next_token(model, inputs)
        base = self.accelerator.unwrap_model(model).disable_adapter()
        options: Any = self.args.gradient_checkpointing_kwargs
        whole = disable_gradient_checkpointing(self.model, options)
        with torch.no_grad(), base, whole:
            reference = next_token(model, inputs)
        rewards = self.beta * (log_probs - reference)
        margins = rewards.gather(1, inputs["chosen"]) - rewards.gather(1, inputs["rejected"])
        weights = inputs["weights"]
        # Multiplying by these shares turns a row mean into a weighted pair mean.
        shares = weights / weights.sum(dim=1).mean()
        self._record("rewards/margins", (shares * margins).sum(dim=1))
        self._record("rewards/accuracies", (shares * (margins > 0)).sum(dim=1))
        self._record("label_mass", log_probs[:, self.labels].exp().sum(dim=1))
        loss = -(weights * functional.logsigmoid(margins)).sum(dim=1).mean()
        return (loss, None) if return_outputs else loss

    def _record(self, name: str, values: Tensor) -> None:
        """Record the mean of `values` (N,) over all processes for the next log line."""
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][name].append(self.accelerator.gather(values.detach()).mean().item())


def next_token(model: Any, prompts: dict[str, Tensor]) -> Tensor:
    """Log-probabilities of the token after each prompt, (N, vocabulary). Only positions at which some prompt of the
    batch ends go through the output layer.
    """
    places, place = prompts["ends"].unique(return_inverse=True)
    logits = model(input_ids=prompts["input_ids"], use_cache=False, logits_to_keep=places).logits
    rows = torch.arange(len(place), device=place.device)
    log_probs: Tensor = logits[rows, place].float().log_softmax(dim=-1)
    return log_probs
