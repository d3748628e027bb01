"""Keep the tables fast and small, and keep the versions that a backfill may still read."""

from __future__ import annotations

from schemas.events import report
from schemas.tables import ARTWORK_SELECTIONS, MADE, POST_TRAINING, SERVED
from spark_jobs.warehouse import Warehouse


def maintain(warehouse: Warehouse) -> None:
    """OPTIMIZE and VACUUM the tables that Marquee makes; versions younger than `retention_days` stay readable.

    Input tables keep their owner's retention.
    """
    for table in (*MADE, *SERVED, *POST_TRAINING):
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
