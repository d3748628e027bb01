"""Rows of token ids as one rectangle.

Padded on the right, and with no attention mask: what comes after a token does not reach it, and attention that is
known to be causal and no more takes half the time of one that reads a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor


def padded(rows: list[list[int]], filler: int) -> Tensor:
    """`rows` as (N, L), L being the longest row's length, filled up with `filler`."""
    whole = torch.full((len(rows), max(map(len, rows))), filler)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = torch.tensor(row)
    return whole
