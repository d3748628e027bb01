"""The label prior of a checkpoint: how much it likes each option number, whatever stands there.

Measured by training/prior.py for each number of options K under rotations of the options, so that content cancels out:
b_K[j] = mean log p(number j | K options), less its mean over j. Taken off before the probabilities are made:
p'(j) ∝ exp(log p(j) − b_K[j]) (Zheng et al., arXiv 2309.03882).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LABEL_PRIOR = "label_prior.json"


@dataclass(frozen=True)
class LabelPrior:
    """b_K by K. A K that was not measured has none taken off."""

    by_options: Mapping[int, Sequence[float]]

    def taken_off(self, logprobs: Sequence[float]) -> list[float]:
        """Log-probabilities of the option numbers, less the prior of their number of options."""
        prior = self.by_options.get(len(logprobs))
        return list(logprobs) if prior is None else [each - b for each, b in zip(logprobs, prior, strict=True)]


def read_prior(folder: Path) -> LabelPrior:
    """The prior of the checkpoint in `folder`; empty where none was measured."""
    file = folder / LABEL_PRIOR
    if not file.exists():
        return LabelPrior({})
    content = json.loads(file.read_text())
    return LabelPrior({int(options): values for options, values in content["prior"].items()})
