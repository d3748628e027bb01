"""The trainer of drawn answers: trl's GRPOTrainer over token ids."""

from __future__ import annotations

from typing import Any

from trl import GRPOTrainer


class PlayTrainer(GRPOTrainer):
    """GRPO whose prompts are the scorer's token ids: `prompt` of a row is its place in `asked`."""

    def __init__(self, *, asked: Any, **options: Any) -> None:
        self.asked = asked
        super().__init__(**options)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.asked[int(place)]["input_ids"] for place in prompts], None, {}


def play_reward(completion_ids: list[list[int]], answer: list[int], reward: list[float], **_: Any) -> list[float]:
    """The row's reward where the drawn token is the number of the artwork that was played, else 0.

    What would have become of another artwork is not known; that it counts 0 is what makes 1 / propensity right:
    E[play / propensity × (drawn = shown)] is the probability of a play under the drawing policy.
    """
    return [
        value if drawn[:1] == [wanted] else 0.0
        for drawn, wanted, value in zip(completion_ids, answer, reward, strict=True)
    ]
