"""Checks of a checkpoint's weights: whole, finite, one set only, and with the shapes of the model that transformers
makes from config.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from inference.config import CONFIG, DTYPES, Config
from inference.json_file import read_object
from inference.rope import SAVED_WITH_THE_WEIGHTS
from schemas.contract import ContractError

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SAVE_AGAIN = "save the model again with transformers' save_pretrained"
_COPY_AGAIN = "copy the checkpoint again, whole"
_LAYER = re.compile(r"model\.layers\.(\d+)\.")
_HEAD = "lm_head.weight"
_FP8 = "F8_E4M3"
_MOST_NAMED = 3
Shapes = dict[str, tuple[int, ...]]
"""The shape of each tensor, by name."""


@dataclass(frozen=True)
class Tensor:
    """A tensor as the header of its file describes it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def check_weights(folder: Path, config: Config) -> None:
    """Raise ContractError if the weights in `folder` are not those of `config`. Reads all tensors, one by one."""
    tensors = _tensors(folder)
    _check_dtypes(folder, tensors, config)
    _check_layers(folder, tensors, config)
    shapes, tied = _model_shapes(folder)
    _check_names(folder, tensors, shapes, tied, config)
    _check_shapes(tensors, shapes)
    _check_finite(tensors)


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The folder's tensors by name. Raises ContractError unless they are exactly one set of weights."""
    mapped = _mapped(folder)
    files = {*mapped.values()} if mapped else {_WEIGHTS}
    _check_files(folder, files, bool(mapped))
    tensors: dict[str, Tensor] = {}
    for name, tensor in chain.from_iterable(_tensors_in(folder / file) for file in sorted(files)):
        if name in tensors:
            raise ContractError(
                f"{folder}: {name} is in {tensors[name].file.name} and in {tensor.file.name}, expected it once; "
                f"{_SAVE_AGAIN}"
            )
        tensors[name] = tensor
    if mapped:
        _check_index(folder / _INDEX, mapped, {name: tensor.file.name for name, tensor in tensors.items()})
    return tensors


def _check_files(folder: Path, files: set[str], mapped: bool) -> None:
    """Raise ContractError if the folder has other weights than `files`; with `mapped` they come from an index."""
    found = {file.name for pattern in ("*.safetensors", "*.safetensors.index.json") for file in folder.glob(pattern)}
    surplus, missing = sorted(found - files - ({_INDEX} if mapped else set())), sorted(files - found)
    if missing:
        expected, remedy = (
            (f"all files that {_INDEX} lists", _COPY_AGAIN)
            if mapped
            else (f"it, as there is no {_INDEX}", "rename the weights if they are one file, else copy their index too")
        )
        raise ContractError(f"{folder}: {_listed(missing)} not found, expected {expected}; {remedy}")
    if surplus:
        raise ContractError(
            f"{folder}: {_listed(surplus)} found beside the weights, expected only {_listed(sorted(files))}, as there "
            f"is {'a' if mapped else 'no'} {_INDEX}; remove the files that do not belong to the model"
        )


def _mapped(folder: Path) -> dict[str, str]:
    """The file of each tensor according to the index; empty if there is no index."""
    index = folder / _INDEX
    if not index.exists():
        return {}
    mapped = read_object(index, _COPY_AGAIN).get("weight_map")
    if not isinstance(mapped, dict) or not mapped or not all(isinstance(each, str) for each in mapped.values()):
        raise ContractError(f"{index}: weight_map is no object of file names, expected one by tensor; {_COPY_AGAIN}")
    return mapped


def _tensors_in(file: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(file, "pt") as content:
            for name in content.keys():  # noqa: SIM118 (it is no mapping)
                part = content.get_slice(name)
                yield name, Tensor(file, tuple(part.get_shape()), str(part.get_dtype()))
    except SafetensorError as error:
        raise ContractError(f"{file}: not whole ({error}), expected a safetensors file; {_COPY_AGAIN}") from error


def _check_index(index: Path, mapped: dict[str, str], found: dict[str, str]) -> None:
    wrong = sorted(name for name in {*mapped, *found} if mapped.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise ContractError(
            f"{index}: {name} is listed in {mapped.get(name, 'no file')} and is in {found.get(name, 'no file')}, "
            f"expected the same of each tensor; {_SAVE_AGAIN}"
        )


def _check_layers(folder: Path, tensors: dict[str, Tensor], config: Config) -> None:
    layers = {int(match[1]) for match in map(_LAYER.match, tensors) if match}
    if len(layers) != config.layers or max(layers, default=0) != config.layers - 1:
        raise ContractError(
            f"{folder}: the weights have {len(layers)} layers (model.layers.0, …), expected {config.layers}, which is "
            f"num_hidden_layers in {CONFIG}; {SAVED_WITH_THE_WEIGHTS}"
        )


def _check_names(folder: Path, tensors: dict[str, Tensor], shapes: Shapes, tied: bool, config: Config) -> None:
    expected = {*shapes, *(f"{name}_scale" for name, tensor in tensors.items() if tensor.dtype == _FP8)}
    missing, surplus = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
    if config.quantized:
        # Present if activations are quantized with a fixed scale.
        surplus = [name for name in surplus if not name.endswith(".input_scale")]
    if _HEAD in missing + surplus:
        found, wanted, right = ("is in", "none", "false") if tied else ("is missing from", "one", "true")
        raise ContractError(
            f"{folder}: {_HEAD} {found} the weights, expected {wanted}, as tie_word_embeddings in config.json is "
            f"{str(tied).lower()}; set it to {right} if the model was trained so, else {_COPY_AGAIN}"
        )
    for names, found, expectation in (
        (surplus, "in the weights", "only those of the model in config.json"),
        (missing, "not in the weights", "all those of the model in config.json"),
    ):
        if names:
            remedy = f"merge the adapter first, then {_SAVE_AGAIN}" if _is_adapter(names) else _SAVE_AGAIN
            raise ContractError(f"{folder}: {_listed(names)} {found}, expected {expectation}; {remedy}")


def _is_adapter(names: list[str]) -> bool:
    return any("lora_" in name or ".base_layer." in name for name in names)


def _check_shapes(tensors: dict[str, Tensor], shapes: Shapes) -> None:
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise ContractError(
                f"{tensor.file}: {name} is of shape {_by(tensor.shape)}, expected {_by(shape)} by the sizes in "
                f"{CONFIG}; {SAVED_WITH_THE_WEIGHTS}"
            )


def _model_shapes(folder: Path) -> tuple[Shapes, bool]:
    """(shapes, whether the output layer is the embedding) of the model that transformers makes from config.json.

    Raises ContractError if it makes none, or one of another architecture than vLLM would.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    file = folder / CONFIG
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # transformers raises nothing narrower
        reason = " ".join(str(error).split())
        raise ContractError(
            f"{file}: transformers makes no model from it ({reason}); {SAVED_WITH_THE_WEIGHTS}"
        ) from error
    if config.architectures != [type(model).__name__]:
        raise ContractError(
            f"{file}: architectures is {config.architectures!r}, expected [{type(model).__name__!r}], as model_type is "
            f"{config.model_type!r}; {SAVED_WITH_THE_WEIGHTS}"
        )
    tied = bool(config.tie_word_embeddings)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items() if not (tied and name == _HEAD)}
    return shapes, tied


def _check_dtypes(folder: Path, tensors: dict[str, Tensor], config: Config) -> None:
    known = {*DTYPES.values(), _FP8} if config.quantized else {*DTYPES.values()}
    for name, tensor in tensors.items():
        if tensor.dtype not in known:
            raise ContractError(
                f"{tensor.file}: {name} is of type {tensor.dtype}, expected one of {', '.join(sorted(known))}; "
                "save the model in one of these, or, if it is quantized, with its quantization_config"
            )
    found = sorted({tensor.dtype for tensor in tensors.values()})
    if config.dtype is not None and DTYPES[config.dtype] not in found:
        raise ContractError(
            f"{folder / CONFIG}: dtype is {config.dtype!r}, but the weights are {', '.join(found)}, expected "
            "the same type; set dtype to that of the weights"
        )


def _check_finite(tensors: dict[str, Tensor]) -> None:
    import torch

    for name, tensor in tensors.items():
        with safe_open(tensor.file, "pt") as content:
            values = content.get_tensor(name)
        if tensor.dtype == _FP8:
            values = values.float()
        wrong = int(torch.isfinite(values).logical_not().sum())
        if wrong:
            raise ContractError(
                f"{tensor.file}: {wrong} of the {values.numel()} values of {name} are NaN or infinite, expected none; "
                "take an earlier checkpoint of the training, or train again with a smaller learning rate"
            )


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one value"
