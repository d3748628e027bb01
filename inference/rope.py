"""The rotary position embedding in a config.json: without scaling, or with Llama 3's.

Training and scoring compute these two alike. Other scalings are not known to agree: one grows with the prompt in
transformers but not in vLLM, another extends the longest prompt in vLLM only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inference.json_file import is_positive, is_size, refusal

SAVED_WITH_THE_WEIGHTS = "use the config.json that was saved with these weights"
_FACTORS = ("factor", "low_freq_factor", "high_freq_factor")
_LENGTH = "original_max_position_embeddings"
_KEYS: dict[str, tuple[str, ...]] = {"default": (), "llama3": (*_FACTORS, _LENGTH)}
# transformers 4 writes rope_scaling with rope_theta beside it; transformers 5 writes rope_parameters with both in it.
_NAMES = ("rope_parameters", "rope_scaling")
ROPE_KEYS = (*_NAMES, "rope_theta")
"""Keys of a config.json with such an embedding."""


def check_rope(file: Path, content: dict[str, Any]) -> None:
    """Raise ContractError if `content`, a config.json, has another one."""
    rope = _parameters(file, content)
    _check_theta(file, [each["rope_theta"] for each in (rope, content) if "rope_theta" in each])
    kind = _kind(file, rope)
    wrong = sorted((set(rope) - {"rope_type", "type", "rope_theta"}) ^ set(_KEYS[kind]))
    if wrong:
        raise refusal(
            file,
            f"rope_type {kind!r} {'comes with' if wrong[0] in rope else 'lacks'} {wrong[0]}",
            f"just {', '.join((*_KEYS[kind], 'rope_theta'))}",
            SAVED_WITH_THE_WEIGHTS,
        )
    if kind == "llama3":
        _check_llama3(file, rope)


def _parameters(file: Path, content: dict[str, Any]) -> dict[str, Any]:
    given = [(name, content[name]) for name in _NAMES if content.get(name)]
    for name, rope in given:
        if not isinstance(rope, dict):
            raise refusal(file, f"{name} is {rope!r}", "an object with rope_type", SAVED_WITH_THE_WEIGHTS)
        if rope != given[0][1]:
            raise refusal(file, f"{' and '.join(_NAMES)} differ", "one of them", "remove the wrong one")
    return given[0][1] if given else {}


def _check_theta(file: Path, thetas: list[Any]) -> None:
    if not thetas or not all(map(is_positive, thetas)) or thetas[0] != thetas[-1]:
        raise refusal(
            file,
            f"rope_theta is {' and '.join(map(repr, thetas)) or 'missing'}",
            "one number above 0, at the top or among the rope parameters",
            SAVED_WITH_THE_WEIGHTS,
        )


def _kind(file: Path, rope: dict[str, Any]) -> str:
    kinds = [rope[key] for key in ("rope_type", "type") if key in rope] or ["default"]
    if kinds[0] not in list(_KEYS) or kinds[0] != kinds[-1]:
        raise refusal(
            file,
            f"rope_type is {' and '.join(map(repr, kinds))}",
            f"{' or '.join(map(repr, _KEYS))}, which training and scoring compute alike",
            "use a Llama 3, or a model without scaling",
        )
    return str(kinds[0])


def _check_llama3(file: Path, rope: dict[str, Any]) -> None:
    for key in _FACTORS:
        if not is_positive(rope[key]):
            raise refusal(file, f"{key} is {rope[key]!r}", "a number above 0", SAVED_WITH_THE_WEIGHTS)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    if low >= high:
        raise refusal(
            file, f"low_freq_factor is {low!r}", f"less than high_freq_factor, {high!r}", SAVED_WITH_THE_WEIGHTS
        )
    if not is_size(rope[_LENGTH]):
        raise refusal(file, f"{_LENGTH} is {rope[_LENGTH]!r}", "a whole number above 0", SAVED_WITH_THE_WEIGHTS)
