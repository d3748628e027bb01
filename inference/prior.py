"""The label prior of a checkpoint: its preference for each option number, whatever the content.

training/prior.py measures it for each number of options K over rotations of the options, so that content cancels out:
b_K[j] = mean log p(number j | K options), less its mean over j. Scoring subtracts it before the softmax:
p'(j) ∝ exp(log p(j) − b_K[j]) (Zheng et al., arXiv 2309.03882).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.json_file import is_number, read_object
from schemas.contract import ContractError
from schemas.settings import Quantization
from schemas.tables import MAX_ARTWORKS

PRIOR_FILES: dict[Quantization, str] = {"none": "label_prior.json", "fp8": "label_prior.fp8.json"}
"""The file of a checkpoint's label prior, by quantization: in each number type the model prefers other numbers."""
_OPTIONS = {str(options) for options in range(1, MAX_ARTWORKS + 1)}
_REMEDY = "measure it again (marquee models prior), or remove the file to score without"


@dataclass(frozen=True)
class LabelPrior:
    """b_K by K. For a K that was not measured nothing is subtracted."""

    by_options: Mapping[int, Sequence[float]]

    def subtracted(self, logprobs: Sequence[float]) -> list[float]:
        """Log-probabilities of the option numbers, less the prior for their number of options."""
        prior = self.by_options.get(len(logprobs))
        return list(logprobs) if prior is None else [each - b for each, b in zip(logprobs, prior, strict=True)]


def read_prior(folder: Path, quantization: Quantization = "none") -> LabelPrior:
    """The prior of the checkpoint in `folder`; empty if none was measured with this quantization.

    Raises ContractError if the file is malformed.
    """
    file = folder / PRIOR_FILES[quantization]
    if not file.exists():
        return LabelPrior({})
    prior = read_object(file, _REMEDY).get("prior")
    if not isinstance(prior, dict):
        raise ContractError(f"{file}: prior is {prior!r}, expected an object with a list for each K; {_REMEDY}")
    for options, values in prior.items():
        _check(file, options, values)
    return LabelPrior({int(options): values for options, values in prior.items()})


def _check(file: Path, options: str, values: object) -> None:
    if options not in _OPTIONS:
        raise ContractError(
            f"{file}: prior has an entry for {options!r} options, expected 1 to {MAX_ARTWORKS}; {_REMEDY}"
        )
    if not isinstance(values, list) or len(values) != int(options) or not all(map(is_number, values)):
        raise ContractError(
            f"{file}: the prior of {options} options is {values!r}, expected {options} finite numbers; {_REMEDY}"
        )
