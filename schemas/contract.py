"""What a table's contract is made of, and the Spark, Arrow and Delta schemas that follow from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow
    from pyspark.sql.types import StructType

type_json = str | dict[str, Any]
"""A column's type in Delta's own JSON form, which Spark and delta-rs both read."""


class ContractError(Exception):
    """An input, an argument or a stored table is not what the contract says. The message tells what to do."""


def array(element: type_json) -> type_json:
    """An array of `element`. Delta can't enforce that nothing in it is null, so the type doesn't say so."""
    return {"type": "array", "elementType": element, "containsNull": True}


def struct(**fields: type_json) -> type_json:
    return {"type": "struct", "fields": [_field(name, kind, True) for name, kind in fields.items()]}


def _field(name: str, kind: type_json, nullable: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": nullable, "metadata": {}}


def type_name(kind: type_json) -> str:
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
    type: type_json
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Rule:
    """What every row obeys: a Spark SQL condition that is true of a good row. A null counts as broken."""

    name: str
    condition: str
    meaning: str


@dataclass(frozen=True, eq=False)
class Table:
    """One table of the warehouse.

    `references` maps a column to the table whose key it must be found in; `optional` tables may be absent.
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
        """The rules that one row can be held to by itself: required columns first, then the written ones."""
        required = tuple(
            Rule(f"{column.name}_missing", f"{column.name} is not null", f"`{column.name}` is given")
            for column in self.columns
            if not column.nullable
        )
        return required + self.rules

    def delta_json(self) -> dict[str, Any]:
        return {"type": "struct", "fields": [_field(c.name, c.type, c.nullable) for c in self.columns]}

    def spark_schema(self) -> StructType:
        from pyspark.sql.types import StructType

        return StructType.fromJson(self.delta_json())

    def arrow_schema(self) -> pyarrow.Schema:
        import pyarrow
        from deltalake import Schema

        return pyarrow.schema(Schema.from_json(json.dumps(self.delta_json())))

    def create(self, uri: str, **properties: str) -> None:
        """Make the Delta table at `uri`, empty and with `properties` beside its own, if there is none."""
        from deltalake import DeltaTable, Schema

        DeltaTable.create(
            uri,
            Schema.from_json(json.dumps(self.delta_json())),
            mode="ignore",
            partition_by=list(self.partitioned_by),
            description=self.meaning,
            configuration={**self.properties, **properties},
            # Of `marquee.…` properties delta-rs knows nothing.
            raise_if_key_not_exists=False,
        )
