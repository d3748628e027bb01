"""Hold every input row to its contract: good rows go on, each other row is kept with the rule it broke."""

from __future__ import annotations

from inference.champion import model_of_tonight
from schemas.tables import INPUTS, REJECTED_ROWS
from spark_jobs.inputs import check_present, check_share, good_titles, night_rows, rejected, with_broken_rule
from spark_jobs.warehouse import Night


def validate(night: Night) -> None:
    """Check the inputs, note their versions and tonight's model; what breaks the contract goes to `rejected_rows`."""
    check_present(night)
    chosen = model_of_tonight(night.settings)
    night.warehouse.create_missing()
    with night.step("validate") as counts:
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
        union = broken[0]
        for frame in broken[1:]:
            union = union.unionByName(frame)
        night.replace(REJECTED_ROWS, union.coalesce(1), step="validate")
        per_rule = (
            night.tonight(REJECTED_ROWS).where("step = 'validate'").groupBy("source_table", "rule").count().collect()
        )
        found = {
            table: {row["rule"]: row["count"] for row in per_rule if row["source_table"] == table.name}
            for table in read
        }
        for table in read:
            counts[f"rows_{table.name}"] = rows[table].count()
            counts[f"rejected_{table.name}"] = sum(found[table].values())
        for table in read:
            check_share(table.name, found[table], counts[f"rows_{table.name}"], night.settings, night.ds)
