"""The trainer of drawn answers: trl's GRPOTrainer on token ids."""

from __future__ import annotations

from typing import Any

from trl import GRPOTrainer


class PlayTrainer(GRPOTrainer):
    """GRPO whose prompts are the scorer's token ids: a row's `prompt` is its index in `tokenized`."""

    def __init__(self, *, tokenized: Any, **options: Any) -> None:
        self.tokenized = tokenized
        super().__init__(**options)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.tokenized[int(place)]["input_ids"] for place in prompts], None, {}


def play_reward(completion_ids: list[list[int]], answer: list[int], reward: list[float], **_: Any) -> list[float]:
    """The row's reward if the drawn token is the number of the artwork that was played, else 0.

    The outcome of another artwork is unknown; counting it as 0 is what the weight 1 / propensity corrects:
    E[play / propensity × (drawn = shown)] is the probability of a play under the drawing policy.
    """
    return [
        value if drawn[:1] == [wanted] else 0.0
        for drawn, wanted, value in zip(completion_ids, answer, reward, strict=True)
    ]
