"""The parts of a table's contract, and the Spark, Arrow and Delta schemas that follow from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql.types import StructType

Json = str | dict[str, Any]
"""A column's type in Delta's own JSON form, which Spark and delta-rs both read."""


class ContractError(Exception):
    """An input, an argument or a stored table violates the contract. The message says what to do."""


def array(element: Json) -> Json:
    """An array of `element`. Delta can't enforce that no element is null, so the type doesn't say so."""
    return {"type": "array", "elementType": element, "containsNull": True}


def struct(**fields: Json) -> Json:
    return {"type": "struct", "fields": [_field(name, kind, True) for name, kind in fields.items()]}


def _field(name: str, kind: Json, nullable: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": nullable, "metadata": {}}


def type_name(kind: Json) -> str:
    """The type as people write it: `array<struct<artwork_id:string>>`."""
    if isinstance(kind, str):
        return {"integer": "int", "long": "bigint"}.get(kind, kind)
    if kind["type"] == "array":
        return f"array<{type_name(kind['elementType'])}>"
    if kind["type"] == "map":
        return f"map<{type_name(kind['keyType'])}, {type_name(kind['valueType'])}>"
    return f"struct<{', '.join(f['name'] + ':' + type_name(f['type']) for f in kind['fields'])}>"


@dataclass(frozen=True)
class Column:
    """One column: its type, its meaning, and whether a row may lack it."""

    name: str
    type: Json
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Rule:
    """A Spark SQL condition that is true of every good row. Null counts as false."""

    name: str
    condition: str
    meaning: str


@dataclass(frozen=True, eq=False)
class Table:
    """One table of the warehouse.

    `references` maps a column to the table in whose key its value must exist; `optional` tables may be absent.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitioned_by: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    references: dict[str, str] = field(default_factory=dict)
    optional: bool = False
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def row_rules(self) -> tuple[Rule, ...]:
        """The rules that can be checked on one row alone: those that follow from the types, then the written ones."""
        required = tuple(
            Rule(f"{column.name}_missing", f"{column.name} is not null", f"`{column.name}` is given")
            for column in self.columns
            if not column.nullable
        )
        whole = tuple(
            Rule(f"{name}_has_null", f"coalesce(not exists({name}, x -> x is null), true)", f"no null is in `{name}`")
            for name in self._lists
        )
        return (*required, *self._utf8_rule, *whole, *self.rules)

    @property
    def _lists(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.type == array("string"))

    @property
    def _utf8_rule(self) -> tuple[Rule, ...]:
        """Spark accepts any bytes as a string; Arrow, and with it the scorer and every lookup, does not."""
        texts = [f"is_valid_utf8({column.name})" for column in self.columns if column.type == "string"]
        lists = [f"not exists({name}, x -> not is_valid_utf8(x))" for name in self._lists]
        condition = " and ".join(f"coalesce({valid}, true)" for valid in (*texts, *lists))
        return (Rule("not_utf8", condition, "all text in it is UTF-8"),) if condition else ()

    def delta_json(self) -> dict[str, Any]:
        return {"type": "struct", "fields": [_field(c.name, c.type, c.nullable) for c in self.columns]}

    def spark_schema(self) -> StructType:
        from pyspark.sql.types import StructType

        return StructType.fromJson(self.delta_json())

    def arrow_schema(self) -> pyarrow.Schema:
        import pyarrow
        from deltalake import Schema

        return pyarrow.schema(Schema.from_json(json.dumps(self.delta_json())))
