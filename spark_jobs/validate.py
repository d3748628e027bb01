"""Check every input row against its contract: good rows go on, the others are kept with the rule that they broke."""

from __future__ import annotations

from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from inference.champion import model_of_tonight
from schemas.contract import Table
from schemas.tables import ERASED_USERS, INPUTS, REJECTED_ROWS
from spark_jobs.expiry import check_reach
from spark_jobs.inputs import check_present, check_share, good_titles, night_rows, rejected, with_broken_rule
from spark_jobs.warehouse import Night

ERASED = "erased"
"""Why a row of an erased user is left out."""


def validate(night: Night) -> None:
    """Check the inputs, note their versions and tonight's model; bad rows go to `rejected_rows`."""
    with night.step("validate") as counts:
        check_present(night)
        check_reach(night.settings.warehouse, night.ds)
        chosen = model_of_tonight(night.settings)
        night.warehouse.create_missing()
        night.note_inputs()
        night.note_model(chosen)
        referred = {"title_id": good_titles(night)}
        read = [table for table in INPUTS if night.warehouse.has(table)]
        rows = {table: night_rows(table, night.input(table), night.ds, night.settings) for table in read}
        broken = [
            rejected(
                table,
                with_broken_rule(table, rows[table], referred if table.references else {}, night.ds),
                night.ds,
                "validate",
            )
            for table in read
        ]
        rejects = reduce(DataFrame.unionByName, broken).persist(StorageLevel.MEMORY_AND_DISK)
        erased = {
            table: night_rows(table, night.warehouse.only_erased(night.with_erased(table)), night.ds, night.settings)
            for table in (read if night.warehouse.has(ERASED_USERS) else ())
            if "user_id" in table.column_names
        }
        # Counted before writing, because most nights have none to write.
        found = counted(rejects, rows, erased)
        of_erased = {table: found.pop((table.name, ERASED), 0) for table in erased}
        broke = any(rule for _, rule in found)
        night.replace(REJECTED_ROWS, rejects.coalesce(1) if broke else None, step="validate")
        per_rule = {
            table: {rule: number for (name, rule), number in found.items() if rule and name == table.name}
            for table in read
        }
        for table in read:
            counts[f"rows_{table.name}"] = found.get((table.name, None), 0)
            counts[f"rejected_{table.name}"] = sum(per_rule[table].values())
            if table in of_erased:
                counts[f"erased_{table.name}"] = of_erased[table]
        for table in read:
            check_share(table.name, per_rule[table], counts[f"rows_{table.name}"], night.settings, night.ds)


def counted(
    rejects: DataFrame, rows: dict[Table, DataFrame], erased: dict[Table, DataFrame]
) -> dict[tuple[str, str | None], int]:
    """The rows that break each rule, by (table, rule), each table's rows, by (table, None), and those left out, by
    (table, ERASED): by one query.
    """
    names = [
        frame.select(F.lit(table.name), F.lit(rule))
        for rule, frames in ((None, rows), (ERASED, erased))
        for table, frame in frames.items()
    ]
    each = reduce(DataFrame.union, names, rejects.select("source_table", "rule"))
    groups = each.groupBy("source_table", "rule").agg(F.count(F.lit(1)).alias("rows")).collect()
    return {(row["source_table"], row["rule"]): row["rows"] for row in groups}
