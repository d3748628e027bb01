"""Keep the tables fast and small, and keep the versions that a backfill may still read."""

from __future__ import annotations

from schemas.erased import remove_all
from schemas.events import report
from schemas.tables import ARTWORK_SELECTIONS, OWN
from spark_jobs.expiry import remove_old_nights
from spark_jobs.warehouse import Warehouse


def maintain(warehouse: Warehouse) -> None:
    """Remove what old nights left, then OPTIMIZE and VACUUM the tables that Marquee makes; versions younger than
    `retention_days` stay readable.

    Input tables keep their owner's retention.
    """
    # Of a step that was killed after it had written rows of a user who was erased meanwhile.
    if rows := remove_all(warehouse.settings.warehouse):
        report("maintain", f"{rows:,} rows of erased users deleted")
    remove_old_nights(warehouse)
    for table in OWN:
        if not warehouse.has(table):
            continue
        # VACUUM reads the retention from the table's properties alone.
        warehouse.keep_versions(table)
        delta = warehouse.delta(table)
        if table is ARTWORK_SELECTIONS:
            # Every merge adds deletion vectors; a purge rewrites the files without them.
            warehouse.spark.sql(f"REORG TABLE delta.`{warehouse.path(table)}` APPLY (PURGE)")
        metrics = delta.optimize().executeCompaction().select("metrics.*").collect()[0]
        delta.vacuum()
        report(
            "maintain",
            f"{table.name}: {metrics['numFilesRemoved']} files made {metrics['numFilesAdded']}; "
            f"versions of the last {warehouse.settings.retention_days} days kept",
        )
