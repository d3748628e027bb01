"""Accept what an audit refused to publish (`marquee accept`)."""

from __future__ import annotations

from datetime import date

from schemas.contract import ContractError
from schemas.store import replace_rows, rows_of_day
from schemas.tables import AUDIT_RESULTS


def accept(warehouse: str, ds: date, reason: str) -> list[str]:
    """Keep `reason` with each failed check on what the night would change; the next audit of the night passes these as
    long as it finds the same values. Returns the checks' names.

    Raises ContractError if the night has no failed check, or one that says that its scores are wrong.
    """
    results = rows_of_day(warehouse, AUDIT_RESULTS, ds)
    failed = [row for row in results if not row["passed"]]
    if not failed:
        known = "passed every check" if results else "has not been audited"
        raise ContractError(f"audit_results: the night of {ds} {known}, so there is nothing to accept")
    if wrong := [row["check"] for row in failed if row["expected"] is None]:
        raise ContractError(
            f"audit_results: the night of {ds} failed {', '.join(wrong)}: its scores are wrong, which cannot be "
            "accepted; score it again"
        )
    for row in failed:
        row["accepted"] = reason
    replace_rows(warehouse, AUDIT_RESULTS, results, ds=ds)
    return [row["check"] for row in failed]
