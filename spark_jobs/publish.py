"""Publish a night's choices: write the log, then `artwork_selections` in one commit."""

from __future__ import annotations

from datetime import date

from delta.tables import DeltaTable
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.contract import ContractError, Table
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    CATALOGUE_NAMES,
    NIGHT_INPUTS,
    REMOVED,
    TITLE_CHOICES,
    TITLE_DEFAULTS,
    WANTED_PAIRS,
)
from spark_jobs.decisions import CONTENT, UNCHANGED, planned
from spark_jobs.hashing import row_hash
from spark_jobs.inputs import active_on, good_impressions, good_titles, known_artworks
from spark_jobs.merging import KEY, merge, values_of
from spark_jobs.play_rates import counted, play_rates
from spark_jobs.policy import first_of_draws
from spark_jobs.published import published_nights
from spark_jobs.session import materialized
from spark_jobs.warehouse import Night


def changes_to(selections: DataFrame, after: DataFrame, ds: date) -> DataFrame:
    """The rows to merge: where `after` differs from `selections`, except rows of a newer night.

    A row that an earlier run of this night published and this run does not have is removed.
    """
    current = selections.select(*KEY, row_hash(*CONTENT).alias("current_hash"), F.col("ds").alias("current_ds"))
    merged = (
        after.join(current, KEY, how="left")
        .where(F.col("current_ds").isNull() | (F.col("current_ds") <= F.lit(ds)))
        .where(~F.col("current_hash").eqNullSafe(F.col("hash")))
        # Without a current row there is nothing to remove.
        .where((F.col("source") != REMOVED) | F.col("current_ds").isNotNull())
        .select(*ARTWORK_SELECTIONS.column_names)
    )
    stale = (
        selections.where(F.col("ds") == F.lit(ds))
        .join(after, KEY, how="left_anti")
        .withColumn("source", F.lit(REMOVED))
        .select(*ARTWORK_SELECTIONS.column_names)
    )
    return merged.unionByName(stale)


def still_active(changes: DataFrame, choices: DataFrame) -> DataFrame:
    """`changes` without choices of an artwork that is in none of `choices`: it has ended since this older night."""
    active = choices.select("title_id", F.explode("artwork_ids").alias("artwork_id")).distinct()
    return (
        changes.where(F.col("source") != REMOVED)
        .join(active, ["title_id", "artwork_id"], how="left_semi")
        .unionByName(changes.where(F.col("source") == REMOVED))
        .select(*ARTWORK_SELECTIONS.column_names)
    )


def default_artworks(active: DataFrame, impressions: DataFrame, settings: Settings) -> DataFrame:
    """title_id, artwork_id: per title the active artwork with the highest play rate; ties go to the catalogue's
    default.
    """
    rates = play_rates(counted(first_of_draws(impressions, settings)), active)
    order = F.struct(F.round("play_rate", 12).alias("rate"), "is_default", F.xxhash64("artwork_id").alias("tie"))
    return (
        active.join(rates, ["title_id", "artwork_id"], how="inner")
        .groupBy("title_id")
        .agg(F.max_by("artwork_id", order).alias("artwork_id"))
    )


def merge_defaults(target: DeltaTable, defaults: DataFrame) -> None:
    values = values_of(TITLE_DEFAULTS)
    (
        target.alias("t")
        .merge(defaults.alias("s"), "t.title_id = s.title_id")
        .whenMatchedUpdate("t.artwork_id != s.artwork_id", values)
        .whenNotMatchedInsert(values=values)
        .whenNotMatchedBySourceDelete()
        .execute()
    )


def differ(target: DataFrame, wanted: DataFrame) -> bool:
    """Whether writing `wanted` would change anything: a write that changes nothing would still make a version.

    Two bags of rows are equal if every row occurs equally often in both, which one query can check.
    """
    either = target.withColumn("_n", F.lit(1)).unionByName(wanted.select(*target.columns).withColumn("_n", F.lit(-1)))
    return not either.groupBy(*target.columns).agg(F.sum("_n").alias("_n")).where("_n != 0").isEmpty()


def catalogue_names(titles: DataFrame, artworks: DataFrame) -> DataFrame:
    """Rows of `catalogue_names`: every title with its artworks' captions."""
    captions = artworks.groupBy("title_id").agg(
        F.array_sort(F.collect_list(F.struct("artwork_id", "caption"))).alias("captions")
    )
    return titles.join(captions, "title_id", how="left").select(
        "title_id", "name", "release_year", F.coalesce("captions", F.array()).alias("captions")
    )


def publish(night: Night) -> None:
    """Write the night's log, merge it into `artwork_selections`, then update `title_defaults` and `catalogue_names`.

    The log comes first: if a run is killed in between, a rerun completes it, because it makes the same rows.
    """
    warehouse = night.warehouse

    def now(table: Table) -> DataFrame:
        # By version, or Spark would replan every cached frame of the table whenever the table is written.
        return warehouse.read_as_noted(table, warehouse.state(table), night.ds).select(*table.column_names)

    with night.step("publish") as counts:
        after = materialized(planned(night))
        changed = F.col("change") != UNCHANGED
        made = after.agg(
            F.count_if(F.col("source") != REMOVED).alias("standing"), F.count_if(changed).alias("changed")
        ).collect()[0]
        night.replace(ARTWORK_SELECTION_LOG, after.where(changed).repartition(1) if made["changed"] else None)

        newer = published_nights(night, ">")
        selections = now(ARTWORK_SELECTIONS)
        # After reading: an undo forgets a later night's inputs before it changes the choices.
        if not night.rows(NIGHT_INPUTS):
            raise ContractError(
                f"an earlier night was undone while {night.ds} was published: begin it again (validate)"
            )
        changes = changes_to(selections, after, night.ds)
        if newer:
            # A newer night has decided every pair that it wanted, changed or not, and every pair that it removed.
            wanted_later = warehouse.read(WANTED_PAIRS).where(F.col("ds").isin(newer))
            logged_later = warehouse.read(ARTWORK_SELECTION_LOG).where(F.col("ds").isin(newer))
            by_newer = wanted_later.select("user_id", F.explode("title_ids").alias("title_id")).unionByName(
                logged_later.select(*KEY)
            )
            choices_now = warehouse.read(TITLE_CHOICES).where(F.col("ds") == F.lit(newer[-1]))
            changes = still_active(changes.join(by_newer.distinct(), KEY, how="left_anti"), choices_now)
        counts.update(
            merge(warehouse.delta(ARTWORK_SELECTIONS), changes.persist(StorageLevel.MEMORY_AND_DISK), night.ds)
        )
        counts["unchanged"] = made["standing"] - counts["inserted"] - counts["updated"]
        if not newer:
            artworks = known_artworks(night).persist(StorageLevel.MEMORY_AND_DISK)
            active = artworks.where(active_on(night.ds))
            defaults = default_artworks(active, good_impressions(night), night.settings).cache()
            if differ(now(TITLE_DEFAULTS), defaults):
                merge_defaults(warehouse.delta(TITLE_DEFAULTS), defaults)
            names = catalogue_names(good_titles(night), artworks).cache()
            if differ(now(CATALOGUE_NAMES), names):
                warehouse.replace(CATALOGUE_NAMES, names.coalesce(1))
