"""The trainer of preference pairs: trl's DPOTrainer over token ids, which also watches the mass on option numbers."""

from __future__ import annotations

from typing import Any

from trl import DPOTrainer

from training.prior import label_logprobs


class PreferenceTrainer(DPOTrainer):
    """DPO on pre-tokenized rows (prompt_ids, chosen_ids, rejected_ids).

    trl has no such path: it would render the prompt anew and end each answer with an end-of-text token, which scoring
    never sees. DPO only sets two options apart, so it can lower both: `label_mass` is how much probability the watched
    prompts leave on all option numbers.
    """

    def __init__(self, *, watched: list[list[int]], labels: list[int], **options: Any) -> None:
        super().__init__(**options)
        self.watched, self.watched_labels = watched, labels

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """What trl logs, and label_mass."""
        if "loss" in logs and self.is_world_process_zero():
            model = self.accelerator.unwrap_model(self.model)
            was_training = model.training
            model.eval()
            found = label_logprobs(model.get_base_model(), self.watched, self.watched_labels)
            model.train(was_training)
            import numpy as np

            logs["label_mass"] = float(np.exp(found).sum(axis=1).mean())
        super().log(logs, *arguments, **options)
