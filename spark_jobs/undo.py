"""Undo a published night: the choices that stood before it stand again (`marquee undo`).

What stood before a night is each pair's latest earlier row in `artwork_selection_log`: nothing has to be kept for an
undo, and versions may be vacuumed. Until the night is run again, its own rows stay in the log, with the source
`undone`, as evidence of what was served; whatever rebuilds a state skips them. A pair that a later night has decided
keeps that choice.

An undo that was killed can be run again: it writes the log, one MERGE into `artwork_selections`, and then what says
that the night was published. It finds its pairs by their keys in the log and by their ds in `artwork_selections`,
whatever was done before. Before the MERGE, later nights forget their noted inputs: they begin again with `validate`, so
that none publishes what it has read of the undone choices. `title_defaults` and `catalogue_names` come from plays and
the catalogue, not from answers: they stay, and the next night brings them up to date.
"""

from __future__ import annotations

from datetime import date

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.contract import ContractError
from schemas.store import open_table, replace_rows, rows
from schemas.tables import ARTWORK_SELECTION_LOG, ARTWORK_SELECTIONS, NIGHT_INPUTS, NIGHT_STEPS, REMOVED, UNDONE
from spark_jobs.decisions import CONTENT
from spark_jobs.expiry import check_reach
from spark_jobs.hashing import row_hash
from spark_jobs.merging import KEY, merge
from spark_jobs.published import as_of
from spark_jobs.warehouse import Night


def made_by(selections: DataFrame, log: DataFrame, ds: date) -> DataFrame:
    """bucket, user_id, title_id, later: the pairs that the night `ds` decided, and whether a later night decided them
    again.
    """
    key = ["bucket", *KEY]
    tonight = F.col("ds") == F.lit(ds)
    pairs = log.where(tonight).select(*key).union(selections.where(tonight).select(*key)).distinct()
    later = log.where((F.col("ds") > F.lit(ds)) & (F.col("source") != UNDONE)).select(*KEY).distinct()
    return pairs.join(later.withColumn("later", F.lit(True)), KEY, how="left").select(
        *key, F.coalesce("later", F.lit(False)).alias("later")
    )


def restored(pairs: DataFrame, selections: DataFrame, log: DataFrame, ds: date) -> DataFrame:
    """The rows to merge so that `pairs` have the choices from before the night; source is `removed` without any."""
    before = as_of(log, ds).drop("bucket").withColumn("wanted_hash", row_hash(*CONTENT, "ds"))
    current = selections.select(*KEY, row_hash(*CONTENT, "ds").alias("current_hash"))
    return (
        pairs.join(before, KEY, how="left")
        .join(current, KEY, how="left")
        .where(~F.col("wanted_hash").eqNullSafe(F.col("current_hash")))
        .withColumn("source", F.coalesce("source", F.lit(REMOVED)))
        .select(*ARTWORK_SELECTIONS.column_names)
    )


def undo(night: Night) -> None:
    """Undo the night. Raises ContractError if it has published nothing, or is too old for the log."""
    warehouse, place = night.warehouse, night.settings.warehouse
    steps = {row["step"] for row in night.rows(NIGHT_STEPS, "step")}
    sources = {row["source"] for row in night.rows(ARTWORK_SELECTION_LOG, "DISTINCT source")}
    if not (sources or steps & {"publish", "undo"}):
        raise ContractError(f"the night of {night.ds} has published nothing in {place}: there is nothing to undo")
    check_reach(place, night.ds)
    with night.step("undo") as counts:
        if sources - {UNDONE}:
            warehouse.delta(ARTWORK_SELECTION_LOG).update(
                f"ds = date'{night.ds}' AND source != '{UNDONE}'", {"source": F.lit(UNDONE)}
            )
        # First: a later night that has read the undone choices finds in `publish` that it has to begin again.
        for later in _began_after(night):
            replace_rows(place, NIGHT_INPUTS, [], ds=later)
        selections = warehouse.read(ARTWORK_SELECTIONS)
        log = warehouse.without_erased(warehouse.read(ARTWORK_SELECTION_LOG))
        pairs = made_by(selections, log, night.ds).persist(StorageLevel.MEMORY_AND_DISK)
        changes = restored(pairs.where("NOT later"), selections, log, night.ds)
        done = merge(warehouse.delta(ARTWORK_SELECTIONS), changes.persist(StorageLevel.MEMORY_AND_DISK), night.ds)
        counts.update(restored=done["inserted"] + done["updated"], removed=done["deleted"])
        counts["kept_of_later_nights"] = pairs.where("later").count()
        night.replace_rows(NIGHT_STEPS, [], step="publish")


def _began_after(night: Night) -> list[date]:
    noted = open_table(night.settings.warehouse, NIGHT_INPUTS)
    return [row["ds"] for row in rows(f"SELECT DISTINCT ds FROM noted WHERE ds > DATE '{night.ds}'", noted=noted)]
