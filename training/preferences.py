"""The trainer of preference pairs: trl's DPOTrainer for answers of one token, which reads each prompt once for both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from trl import DPOTrainer
from trl.models.utils import disable_gradient_checkpointing


class PreferenceTrainer(DPOTrainer):
    """DPO on pre-tokenized rows (prompt_ids, chosen_ids, rejected_ids), each answer of one token.

    trl has no such path: it would render the prompt anew and end each answer with an end-of-text token, which scoring
    never sees. And it reads every prompt twice, once for each answer, though both are told by what comes after the
    prompt. DPO only sets two options apart, so it can lower both: `label_mass` is how much probability is left on all
    option numbers (`labels`).
    """

    def __init__(self, *, labels: list[int], **options: Any) -> None:
        super().__init__(**options)
        self.labels = labels

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool) -> Any:
        """−log sigmoid(β (log π(c) − log π_ref(c) − log π(r) + log π_ref(r))) (Rafailov et al., arXiv 2305.18290), the
        mean over the batch.
        """
        prompts, answers = once(inputs)
        log_probs = next_token(model, prompts)
        base = self.accelerator.unwrap_model(model).disable_adapter()
        whole = disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), base, whole:
            reference = next_token(model, prompts)
        rewards = self.beta * (log_probs - reference).gather(1, answers)
        margins = rewards[:, 0] - rewards[:, 1]
        self._note("rewards/margins", margins)
        self._note("rewards/accuracies", (margins > 0).float())
        self._note("label_mass", log_probs[:, self.labels].exp().sum(dim=1))
        loss = -functional.logsigmoid(margins).mean()
        return (loss, None) if return_outputs else loss

    def _note(self, name: str, values: Tensor) -> None:
        """Keep the mean of one number a row for the next line of the log, over all processes."""
        mode = "train" if self.model.training else "eval"
        self._metrics[mode][name].append(self.accelerator.gather(values.detach()).mean().item())


def once(inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """From trl's batch of (2N, L), prompts with chosen above prompts with rejected answers: the N prompts, with the
    place of their last token, and both answers, (N, 2).
    """
    rows = len(inputs["input_ids"]) // 2
    at = inputs["completion_mask"].argmax(dim=1, keepdim=True)
    answers = inputs["input_ids"].gather(1, at).view(2, rows).T
    prompts = {name: inputs[name][:rows] for name in ("input_ids", "attention_mask")}
    return {**prompts, "last": at[:rows, 0] - 1}, answers


def next_token(model: Any, prompts: dict[str, Tensor]) -> Tensor:
    """Log-probabilities of what follows each prompt, (N, vocabulary)."""
    ends, of_row = prompts["last"].unique(return_inverse=True)
    logits = model(
        input_ids=prompts["input_ids"], attention_mask=prompts["attention_mask"], use_cache=False, logits_to_keep=ends
    ).logits
    rows = torch.arange(len(of_row), device=logits.device)
    return logits[rows, of_row].float().log_softmax(dim=-1)
