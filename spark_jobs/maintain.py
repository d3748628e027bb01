"""Keep the tables fast and small, without taking from a backfill the versions it may still read."""

from __future__ import annotations

from schemas.events import report
from schemas.tables import ARTWORK_SELECTIONS, MADE, POST_TRAINING, SERVED
from spark_jobs.warehouse import Warehouse


def maintain(warehouse: Warehouse) -> None:
    """OPTIMIZE and VACUUM the tables that Marquee makes; a version younger than `retention_days` stays readable.

    Inputs are kept as whoever writes them has them kept.
    """
    for table in (*MADE, *SERVED, *POST_TRAINING):
        if not warehouse.has(table):
            continue
        # VACUUM goes by a table's properties alone.
        warehouse.keep_versions(table)
        delta = warehouse.delta(table)
        if table is ARTWORK_SELECTIONS:
            # Deletion vectors pile up with every merge; a purge writes them into the files.
            warehouse.spark.sql(f"REORG TABLE delta.`{warehouse.path(table)}` APPLY (PURGE)")
        metrics = delta.optimize().executeCompaction().select("metrics.*").collect()[0]
        delta.vacuum()
        report(
            "maintain",
            f"{table.name}: {metrics['numFilesRemoved']} files made {metrics['numFilesAdded']}; "
            f"versions of the last {warehouse.settings.retention_days} days kept",
        )
