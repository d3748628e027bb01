"""A simulated service that continues from night to night, and counts of what truly changed in a night."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.harness import Row
from benchmarks.prompt_bucket import TITLES_PER_USER
from examples.service import write_service
from examples.simulated import LAST_DAY, simulated_service
from schemas.contract import Table
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    TITLE_CANDIDATES,
    USER_CONTEXTS,
    VIEWING_HISTORY,
    WANTED_PAIRS,
)
from spark_jobs.audit import asked_pairs
from spark_jobs.warehouse import Night, Warehouse

_SEED, _DAYS = 1, 14
# A user without wanted pairs watches daily: validate takes a day without viewings for one not loaded.
_VISITOR = "visitor"
# Distance in the catalogue between the titles that a user wants.
_APART = 7
_PARTS = 10_000
_KEY = ["user_id", "title_id"]


@dataclass(frozen=True)
class LivingService:
    """A service with `users` users and `titles` titles, day by day. Users are 1, 2, …"""

    warehouse: Warehouse
    users: int
    titles: int

    @classmethod
    def make(cls, spark: SparkSession, folder: Path, users: int, titles: int) -> LivingService:
        """Write the service up to LAST_DAY, with only those artworks that are active then and never end.

        No user explores, and the model of the settings scores, not a registry's champion.
        """
        service = simulated_service(users, titles, _DAYS, _SEED)
        lasting = [each for each in service.artworks if each.active_on(LAST_DAY) and each.active_to is None]
        write_service(replace(service, artworks=lasting, impressions=[]), folder)
        update = {"warehouse": str(folder), "registry": None, "uniform_share": 0.0}
        return cls(Warehouse(spark, Settings().model_copy(update=update)), users, titles)

    def night(self, number: int, watching: float) -> Night:
        """The night `number`, 0 for LAST_DAY, with its inputs: that share of the users, by hash, watches a title each.

        The recommender wants the same 20 titles for a user every night.
        """
        ds = LAST_DAY + timedelta(days=number)
        users = self.warehouse.spark.range(1, self.users + 1).select(F.col("id").cast("string").alias("user_id"))
        rank = F.explode(F.sequence(F.lit(1), F.lit(TITLES_PER_USER))).alias("rank")
        wanted = self._title(F.pmod(F.xxhash64("user_id"), F.lit(self.titles)) + F.col("rank") * _APART)
        self._append(TITLE_CANDIDATES, users.select("user_id", rank).withColumn("title_id", wanted), ds=ds)
        if number:
            watches = drawn(watching, "user_id", F.lit(str(ds)))
            visitor = self.warehouse.spark.range(1).select(F.lit(_VISITOR).alias("user_id"))
            second = F.pmod(F.xxhash64("user_id", F.lit(f"{ds} at")), F.lit(86_400))
            viewing = {
                "title_id": self._title(F.xxhash64("user_id", F.lit(f"{ds} title"))),
                "watched_at": F.timestamp_seconds(F.unix_timestamp(F.lit(ds)) + second),
                "completion": F.lit(0.9),
            }
            viewings = users.where(watches).unionByName(visitor).withColumns(viewing)
            self._append(VIEWING_HISTORY, viewings, watch_date=ds)
        return Night(self.warehouse, ds)

    def _title(self, number: Column) -> Column:
        return (F.pmod(number, F.lit(self.titles)) + 1).cast("string")

    def _append(self, table: Table, rows: DataFrame, **day: date) -> None:
        dated = rows.withColumns({name: F.lit(value) for name, value in day.items()}).select(*table.column_names)
        writer = dated.coalesce(1).write.format("delta").mode("append").partitionBy(*table.partitioned_by)
        writer.save(self.warehouse.path(table))


def drawn(share: float, *by: str | Column) -> Column:
    """Whether a row is in that share of all rows, by a hash."""
    return F.pmod(F.xxhash64(*by), F.lit(_PARTS)) < int(share * _PARTS)


def night_row(name: str, night: Night, version_before: int) -> Row:
    """What a published night did, in pairs. `version_before` is the version of `artwork_selections` before it.

    `changed`: pairs of users who watched something. `due`: these, and pairs drawn again because a user's epoch ended,
    which need no model. `rewritten`: rows that the MERGE changed, and rows copied because they share a file with them.
    """
    selections = night.warehouse.read(ARTWORK_SELECTIONS)
    history = night.warehouse.read(VIEWING_HISTORY).where(F.col("watch_date") == F.lit(night.ds))
    changed = selections.where("source = 'model'").join(history, "user_id", how="left_semi").select(*_KEY)
    logged = night.tonight(ARTWORK_SELECTION_LOG)
    pairs = changed.count()
    due = pairs + logged.join(changed, _KEY, how="left_anti").count()
    asked = asked_pairs(night.tonight(USER_CONTEXTS)).count()
    merged = merge_metrics(night.warehouse.path(ARTWORK_SELECTIONS), version_before)
    rewritten = sum(merged.get(f"numTargetRows{what}", 0) for what in ("Inserted", "Updated", "Deleted", "Copied"))
    return {
        "night": name,
        "wanted": night.tonight(WANTED_PAIRS).agg(F.sum(F.size("title_ids"))).collect()[0][0],
        "changed": pairs,
        "asked": asked,
        "due": due,
        "rewritten": rewritten,
    }


def merge_metrics(path: str, version_before: int) -> dict[str, int]:
    """The metrics of the one MERGE since a version; empty if there was no commit."""
    table = DeltaTable(path)
    commits = table.history(table.version() - version_before) if table.version() > version_before else []
    merges = [commit for commit in commits if commit["operation"] == "MERGE"]
    return {name: int(value) for merge in merges for name, value in merge["operationMetrics"].items()}
