"""Writes docs/tables.md from the contract: `marquee docs`."""

from __future__ import annotations

from pathlib import Path

from schemas.contract import Table, type_name
from schemas.tables import ERASED_USERS, INPUTS, MADE, POST_TRAINING, SERVED

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tables.md"

_SECTIONS = (
    ("Inputs", "Owned by others; Marquee reads them and never writes them.", INPUTS),
    ("Made by a night", "What the steps of a night pass to one another, and what they record.", MADE),
    ("Read by serving", "What a night publishes.", SERVED),
    ("Made by post-training", "The examples, scores and estimates of a post-training run.", POST_TRAINING),
    ("Made by operators", "What a command keeps.", (ERASED_USERS,)),
)


def table_docs(table: Table) -> str:
    """One table: its meaning, key, partitions and columns, and the rules that its rows obey."""
    lines = [f"### `{table.name}`", "", table.meaning + (" May be absent." if table.optional else ""), ""]
    if table.key:
        lines += [f"Key: {_names(table.key)}.  "]
    if table.partitioned_by:
        lines += [f"Partitioned by: {_names(table.partitioned_by)}.  "]
    for name, value in table.properties.items():
        lines += [f"Table property: `{name} = {value}`.  "]
    lines += ["", "| column | type | may be null | meaning |", "| --- | --- | --- | --- |"]
    for column in table.columns:
        lines.append(
            f"| `{column.name}` | `{type_name(column.type)}` | {'yes' if column.nullable else ''} | {column.meaning} |"
        )
    if table.rules or table.references or table.key:
        lines += ["", "| rule | a row obeys it when |", "| --- | --- |"]
        lines += [f"| `{rule.name}` | {rule.meaning} |" for rule in table.rules]
        lines += [f"| `unknown_{column}` | `{column}` is in `{other}` |" for column, other in table.references.items()]
        lines += [f"| `duplicate_key` | no other row has its {_names(table.key)} |"] if table.key else []
    return "\n".join(lines) + "\n"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page() -> str:
    """docs/tables.md, whole."""
    parts = [
        "# The tables\n\n"
        "Made by `marquee docs` from [schemas/tables.py](../schemas/tables.py); edit that. Three rules follow from the "
        "types: a column that may not be null has a value (`<column>_missing`), an array contains no null "
        "(`<column>_has_null`), and all text is UTF-8 (`not_utf8`).\n"
    ]
    for heading, meaning, tables in _SECTIONS:
        parts.append(f"## {heading}\n\n{meaning}\n")
        parts += [table_docs(table) for table in tables]
    return "\n".join(parts)


def write() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
