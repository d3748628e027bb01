"""The recipes of docs/reading.md, for running them unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reading.md"
_HEADING_OR_CODE = re.compile(r"^## ([^\n]+)$|^### ([^\n]+)$|^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipes() -> dict[tuple[str, str], str]:
    """The page's code by (engine, task)."""
    found = {}
    engine = task = ""
    for match in _HEADING_OR_CODE.finditer(PAGE.read_text()):
        engine, task = match[1] or engine, match[2] or task
        if match[3]:
            found[engine, task] = match[3]
    return found


def run_recipe(code: str, name: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a recipe leaves in `found`; `given` are the names that the page says are defined."""
    names = dict(given)
    exec(compile(code, f"{PAGE.name}: {name}", "exec"), names)
    return rows_of(names["found"])


def rows_of(found: Any) -> list[dict[str, Any]]:
    """A recipe's result as dictionaries, for any engine."""
    for way in ("to_pylist", "to_dicts"):
        if hasattr(found, way):
            return list(getattr(found, way)())
    if hasattr(found, "collect"):
        return [row.asDict() for row in found.collect()]
    if hasattr(found, "fetchall"):
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return list(found)
