"""The one commit to `artwork_selections`, and parts of merges."""

from __future__ import annotations

from datetime import date

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame

from schemas.contract import Table
from schemas.tables import ARTWORK_SELECTIONS, REMOVED

KEY = ["user_id", "title_id"]


def values_of(table: Table) -> dict[str, str | Column]:
    """Each of the contract's columns from the source of a merge; the target may have others."""
    return {name: f"s.{name}" for name in table.column_names}


def merge(target: DeltaTable, changes: DataFrame, ds: date) -> dict[str, int]:
    """Merge in one commit, or in none if nothing changed. Returns the rows inserted, updated and deleted."""
    counts = {row["source"]: row["count"] for row in changes.groupBy("source").count().collect()}
    if not counts:
        return {"inserted": 0, "updated": 0, "deleted": 0}
    not_newer = f"t.ds <= date'{ds}'"
    values = values_of(ARTWORK_SELECTIONS)
    metrics = (
        target.alias("t")
        .merge(changes.alias("s"), "t.bucket = s.bucket AND t.user_id = s.user_id AND t.title_id = s.title_id")
        .whenMatchedDelete(f"s.source = '{REMOVED}' AND {not_newer}")
        .whenMatchedUpdate(not_newer, values)
        .whenNotMatchedInsert(f"s.source != '{REMOVED}'", values)
        .execute()
        .collect()[0]
    )
    return {
        "inserted": metrics["num_inserted_rows"],
        "updated": metrics["num_updated_rows"],
        "deleted": metrics["num_deleted_rows"],
    }
