"""A JSON file of a checkpoint: its object, checks of its values, and the error that refuses it in one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

from schemas.contract import ContractError


def read_object(file: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in `file`. Raises ContractError, ending with `remedy`, if there is none."""
    if not file.is_file():
        raise ContractError(f"{file}: the file is missing; {remedy}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ContractError(f"{file}: not JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise ContractError(f"{file}: not a JSON object; {remedy}")
    return content


def refusal(file: Path, found: str, expected: str, remedy: str) -> ContractError:
    return ContractError(f"{file}: {found}, expected {expected}; {remedy}")


def is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_size(value: object) -> bool:
    return is_whole(value) and value > 0


def is_number(value: object) -> TypeGuard[float]:
    return (is_whole(value) or isinstance(value, float)) and math.isfinite(value)


def is_positive(value: object) -> bool:
    return is_number(value) and value > 0
