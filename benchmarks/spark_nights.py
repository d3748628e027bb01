"""A small service that lives on, night after night, of which it is known what truly changed each night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.prompt_bucket import TITLES_PER_USER
from examples.service import write_service
from examples.simulated import LAST_DAY, simulated_service
from schemas.contract import Table
from schemas.tables import (
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    ARTWORKS,
    TITLE_CANDIDATES,
    USER_CONTEXTS,
    VIEWING_HISTORY,
    WANTED_PAIRS,
)
from spark_jobs.audit import asked_pairs, audit
from spark_jobs.candidates import candidates
from spark_jobs.contexts import contexts
from spark_jobs.publish import publish
from spark_jobs.validate import validate
from spark_jobs.warehouse import Night, Warehouse

BEFORE: tuple[Callable[[Night], None], ...] = (validate, candidates, contexts)
AFTER: tuple[Callable[[Night], None], ...] = (audit, publish)
"""A night's Spark steps, before scoring and after it."""

_SEED, _DAYS = 1, 14
# Somebody of whom no pair is wanted: a day on which nobody watched anything counts as one that was not loaded.
_VISITOR = "visitor"
# Titles that a user wants are this far apart in the catalogue.
_APART = 7
_PARTS = 10_000
_KEY = ["user_id", "title_id"]


def make_service(folder: Path, users: int, titles: int) -> None:
    """The simulated service up to LAST_DAY, with artworks that neither begin nor end later on. Users are 1, 2, …"""
    service = simulated_service(users, titles, _DAYS, _SEED)
    lasting = [each for each in service.artworks if each.active_on(LAST_DAY) and each.active_to is None]
    write_service(replace(service, artworks=lasting, impressions=[]), folder)


def day(number: int) -> date:
    """The date of the night `number`, 0 for the first."""
    return LAST_DAY + timedelta(days=number)


@dataclass(frozen=True)
class LivingService:
    """What happens to the service by day. `users` and `titles`: how many there are."""

    warehouse: Warehouse
    users: int
    titles: int

    def want(self, ds: date) -> None:
        """The recommender names the same 20 titles for a user every night."""
        first = F.pmod(F.xxhash64("user_id"), F.lit(self.titles))
        rank = F.explode(F.sequence(F.lit(1), F.lit(TITLES_PER_USER))).alias("rank")
        wanted = self._users().select("user_id", rank)
        title_id = (F.pmod(first + F.col("rank") * _APART, F.lit(self.titles)) + 1).cast("string").alias("title_id")
        self._append(TITLE_CANDIDATES, wanted.select(F.lit(ds).alias("ds"), "user_id", title_id, "rank"))

    def watch(self, ds: date, share: float) -> None:
        """That share of the users, by hash, watch a title each; so does a visitor."""
        drawn = F.pmod(F.xxhash64("user_id", F.lit(str(ds))), F.lit(_PARTS)) < int(share * _PARTS)
        visitor = self.warehouse.spark.range(1).select(F.lit(_VISITOR).alias("user_id"))
        title_id = (F.pmod(F.xxhash64("user_id", F.lit(f"{ds} title")), F.lit(self.titles)) + 1).cast("string")
        second = F.pmod(F.xxhash64("user_id", F.lit(f"{ds} at")), F.lit(86_400))
        viewings = (
            self._users()
            .where(drawn)
            .unionByName(visitor)
            .select(
                "user_id",
                title_id.alias("title_id"),
                F.timestamp_seconds(F.unix_timestamp(F.lit(ds)) + second).alias("watched_at"),
                F.lit(0.9).alias("completion"),
                F.lit(ds).alias("watch_date"),
            )
        )
        self._append(VIEWING_HISTORY, viewings)

    def replace_artwork(self, ds: date) -> str:
        """An artwork of the most wanted title that has three or more ends, and a new one begins; the title's id."""
        artworks = self.warehouse.read(ARTWORKS)
        several = artworks.groupBy("title_id").count().where(F.col("count") >= 3)
        wanted = self.warehouse.read(TITLE_CANDIDATES).where(F.col("ds") == F.lit(ds))
        by_count = wanted.join(several.select("title_id"), "title_id", how="left_semi").groupBy("title_id").count()
        title_id = str(by_count.orderBy(F.desc("count"), "title_id").collect()[0]["title_id"])
        of_title = artworks.where((F.col("title_id") == title_id) & ~F.col("is_default"))
        old = of_title.orderBy("artwork_id").collect()[0].asDict()
        self.warehouse.delta(ARTWORKS).update(
            F.col("artwork_id") == old["artwork_id"], {"active_to": F.lit(ds - timedelta(days=1))}
        )
        caption = f"{old['caption']}, seen from behind"
        new = {**old, "artwork_id": f"{title_id}-new", "caption": caption, "active_from": ds, "active_to": None}
        self._append(ARTWORKS, self.warehouse.frame(ARTWORKS, [new]))
        return title_id

    def _users(self) -> DataFrame:
        return self.warehouse.spark.range(1, self.users + 1).select(F.col("id").cast("string").alias("user_id"))

    def _append(self, table: Table, rows: DataFrame) -> None:
        path = self.warehouse.path(table)
        rows.select(*table.column_names).coalesce(1).write.format("delta").mode("append").partitionBy(
            *table.partitioned_by
        ).save(path)


@dataclass(frozen=True)
class Counted:
    """What a night did, in rows of pairs, and what it had to do."""

    wanted: int
    changed: int
    """Pairs whose question changed: a user who watched something, or the title whose artwork was replaced."""
    redrawn: int
    """Pairs whose question is the same, drawn again because the user's epoch ended (policy; no model is asked)."""
    asked: int
    rewritten: int
    """Rows that the MERGE inserted, updated or deleted, and those that it copied because they share a file."""
    feed: int
    """Rows of the change data feed that a reader applies: not the images from before an update."""
    files_added: int
    files_removed: int


def counted(night: Night, version_before: int, replaced: str | None) -> Counted:
    """Count a night that has been published. `version_before`: of `artwork_selections`."""
    selections = night.warehouse.read(ARTWORK_SELECTIONS)
    history = night.warehouse.read(VIEWING_HISTORY).where(F.col("watch_date") == F.lit(night.ds))
    watched = selections.where("source = 'model'").join(history.select("user_id"), "user_id", how="left_semi")
    of_title = selections.where((F.col("title_id") == F.lit(replaced)) & (F.col("source") != "only_choice"))
    changed = watched.select(*_KEY).unionByName(of_title.select(*_KEY)).distinct()
    logged = night.tonight(ARTWORK_SELECTION_LOG)
    asked = asked_pairs(night.tonight(USER_CONTEXTS))
    wanted = night.tonight(WANTED_PAIRS).agg(F.sum(F.size("title_ids"))).collect()[0][0]
    merged = merge_metrics(night.warehouse.path(ARTWORK_SELECTIONS), version_before)
    return Counted(
        wanted=wanted,
        changed=changed.count(),
        redrawn=logged.join(changed, _KEY, how="left_anti").count(),
        asked=asked.count(),
        rewritten=sum(merged.get(f"numTargetRows{what}", 0) for what in ("Inserted", "Updated", "Deleted", "Copied")),
        feed=feed_rows(night.warehouse, version_before),
        files_added=merged.get("numTargetFilesAdded", 0),
        files_removed=merged.get("numTargetFilesRemoved", 0),
    )


def merge_metrics(path: str, version_before: int) -> dict[str, int]:
    """The metrics of the one MERGE since a version; none where there was no commit."""
    table = DeltaTable(path)
    commits = table.history(table.version() - version_before) if table.version() > version_before else []
    merges = [commit for commit in commits if commit["operation"] == "MERGE"]
    return {name: int(value) for merge in merges for name, value in merge["operationMetrics"].items()}


def feed_rows(warehouse: Warehouse, version_before: int) -> int:
    """Rows that the change data feed of `artwork_selections` has after a version."""
    if warehouse.version(ARTWORK_SELECTIONS) == version_before:
        return 0
    feed = (
        warehouse.spark.read.format("delta")
        .option("readChangeFeed", "true")
        .option("startingVersion", version_before + 1)
        .load(warehouse.path(ARTWORK_SELECTIONS))
    )
    return feed.where(F.col("_change_type") != "update_preimage").count()
