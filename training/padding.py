"""Pads rows of token ids to a rectangle.

The padding is on the right and has no attention mask: a token does not attend to later ones, and purely causal
attention takes half the time of attention with a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor


def padded(rows: list[list[int]], filler: int) -> Tensor:
    """`rows` as (N, L), padded with `filler` to the length L of the longest."""
    whole = torch.full((len(rows), max(map(len, rows))), filler)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = torch.tensor(row)
    return whole
