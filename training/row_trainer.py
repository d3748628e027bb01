"""trl's SFTTrainer with a loss for each row: what the trainers of answers and of outcomes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from trl import SFTConfig, SFTTrainer

from training.data import Tokenized, arranged
from training.stage import Stage, adapters, load_base, printer, trainer_arguments


class RowTrainer(SFTTrainer):
    """SFT with a loss that each row has by itself. trl itself has no weights and drops columns that it doesn't know."""

    columns: tuple[str, ...]
    """The rows' columns that the collator reads."""
    # The loss is a mean over rows, so the trainer must divide it when it accumulates gradients.
    loss_is_scaled_for_ga: Any = False

    def row_losses(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The weighted loss of each row, (N,)."""
        raise NotImplementedError

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns: Any = list(self.columns)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """The mean over the rows of a batch, not divided by their weights: a batch of light rows moves less."""
        loss = self.row_losses(model, inputs).mean()
        return (loss, None) if return_outputs else loss


def options_of(stage: Stage, rows: Tokenized, collator: Callable[[int], Any]) -> dict[str, Any]:
    """The options of a RowTrainer before its first step. `collator` takes the id that pads prompts."""
    model, tokenizer = load_base(stage.base)
    recipe = stage.recipe
    return {
        "model": model,
        "args": SFTConfig(**trainer_arguments(stage)),
        "train_dataset": arranged(rows.rows, "input_ids", recipe.batch, recipe.seed),
        "processing_class": tokenizer,
        "data_collator": collator(tokenizer.pad_token_id),
        "peft_config": adapters(recipe),
        "callbacks": [printer(stage)],
    }
