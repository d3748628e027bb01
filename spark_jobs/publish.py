"""Publish a night's choices: write the log, then `artwork_selections` in one commit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from delta.tables import DeltaTable
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.contract import Table
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    CATALOGUE_NAMES,
    REMOVED,
    TITLE_CHOICES,
    TITLE_DEFAULTS,
    WANTED_PAIRS,
)
from spark_jobs.hashing import row_hash
from spark_jobs.inputs import active_on, good_impressions, good_titles, known_artworks
from spark_jobs.noted import Noted
from spark_jobs.pairs import ONLY_CHOICE, UNIFORM, pairs_by_kind, title_options
from spark_jobs.play_rates import counted, play_rates
from spark_jobs.policy import drawn, explored, first_of_draws, ranked, scored_options, uniform
from spark_jobs.published import published_before, published_nights
from spark_jobs.session import materialized
from spark_jobs.warehouse import Night

KEY = ["user_id", "title_id"]
# Rows with equal values here are the same choice, whenever it was made.
CONTENT = ["artwork_id", "probability", "propensity", "ranking", "source", "model_version", "prompt_hash"]


def scored_choices(scores: DataFrame, settings: Settings) -> DataFrame:
    """bucket, user_id, title_id, distribution, source, model_version, prompt_hash of the pairs the model scored."""
    return scores.select(
        "bucket",
        *KEY,
        explored(scored_options(F.col("artwork_ids"), F.col("probabilities")), settings).alias("distribution"),
        F.lit("model").alias("source"),
        "model_version",
        "prompt_hash",
    )


def unscored_choices(pairs: DataFrame) -> DataFrame:
    """The same columns for wanted pairs that need no model: one artwork, or a user of the exploring slice."""
    return pairs.where(F.col("kind").isin(ONLY_CHOICE, UNIFORM)).select(
        "bucket",
        *KEY,
        uniform(F.col("artwork_ids")).alias("distribution"),
        F.col("kind").alias("source"),
        F.lit(None).cast("string").alias("model_version"),
        F.lit(None).cast("long").alias("prompt_hash"),
    )


def kept_choices(published: DataFrame, options: DataFrame, settings: Settings) -> DataFrame:
    """The same columns for choices that stand, without artworks that are no longer active.

    If no artwork was lost, the stored distribution stays, to the last bit; otherwise the rest is renormalized. A pair
    that lost all has an empty distribution; so has one whose user_id is not UTF-8, which an earlier version of Marquee
    published and Arrow refuses to read.
    """
    active = options.select("title_id", "artwork_ids")
    left = F.filter(
        "ranking", lambda option: F.array_contains(F.coalesce("artwork_ids", F.array()), option["artwork_id"])
    )
    total = F.aggregate("left", F.lit(0.0), lambda sum_, option: sum_ + option["probability"])
    # The remaining artworks may all have had probability 0.
    total_left = F.when(F.col("total") > 0, F.col("total"))
    renormalized = F.transform(
        "left",
        lambda option: F.struct(
            option["artwork_id"].alias("artwork_id"),
            F.coalesce(option["probability"] / total_left, F.lit(1.0) / F.size("left")).alias("probability"),
        ),
    )
    ids = F.transform("left", lambda option: option["artwork_id"])
    distribution = (
        F.when(F.size("left") == F.size("ranking"), F.col("ranking"))
        .when(F.col("source") == "model", explored(renormalized, settings))
        .otherwise(uniform(ids))
    )
    return (
        published.join(active, "title_id", how="left")
        .withColumn("artwork_ids", F.when(F.is_valid_utf8("user_id"), F.col("artwork_ids")))
        .withColumn("left", left)
        .withColumn("total", total)
        .select("bucket", *KEY, distribution.alias("distribution"), "source", "model_version", "prompt_hash")
    )


def with_draw(choices: DataFrame, ds: date, settings: Settings) -> DataFrame:
    """Key and CONTENT, with the artwork drawn from each distribution; source is `removed` if that is empty."""
    choice = drawn(F.col("distribution"), F.col("user_id"), F.col("title_id"), ds, settings)
    gone = F.size("distribution") == 0
    return (
        choices.withColumn("choice", choice)
        .withColumn("source", F.when(gone, REMOVED).otherwise(F.col("source")))
        .select(
            "bucket",
            *KEY,
            F.col("choice.artwork_id").alias("artwork_id"),
            F.col("choice.probability").alias("probability"),
            F.col("choice.propensity").alias("propensity"),
            ranked(F.col("distribution")).alias("ranking"),
            "source",
            "model_version",
            "prompt_hash",
        )
    )


def state_after(decided: DataFrame, before: DataFrame, ds: date) -> DataFrame:
    """The choices that stand after the night: `decided` with ds and updated_at, unchanged if the choice is.

    `changed`: whether the row differs from `before`; `hash`: the row_hash of CONTENT.
    """
    old = before.select(
        *KEY, row_hash(*CONTENT).alias("old_hash"), F.col("ds").alias("old_ds"), F.col("updated_at").alias("old_at")
    )
    same = F.coalesce(F.col("old_hash") == F.col("hash"), F.lit(False))
    end_of_day = F.date_add(F.lit(ds), 1).cast("timestamp")
    return (
        decided.withColumn("hash", row_hash(*CONTENT))
        .join(old, KEY, how="left")
        .select(
            *decided.columns,
            "hash",
            (~same).alias("changed"),
            F.when(same, F.col("old_ds")).otherwise(F.lit(ds)).alias("ds"),
            F.when(same, F.col("old_at")).otherwise(end_of_day).alias("updated_at"),
        )
    )


def decide(
    night: Night, pairs: DataFrame, options: DataFrame, before: DataFrame, found: Mapping[str, Noted]
) -> DataFrame:
    """Key and CONTENT of every pair wanted tonight or published `before`; `found`: the present state of the tables."""
    settings = night.settings
    fresh = scored_choices(night.tonight(ARTWORK_SCORES), settings).unionByName(unscored_choices(pairs))
    standing = before
    if any(night.noted().get(name) != noted for name, noted in found.items()):
        # A wanted pair without a score was unchanged when the night began, so it keeps what was published then. Any
        # other pair keeps what stands now.
        carried = published_before(night, night.noted()).join(pairs, KEY, how="left_semi")
        unwanted = before.join(pairs, KEY, how="left_anti")
        standing = carried.unionByName(unwanted)
    kept = standing.join(fresh, KEY, how="left_anti")
    return with_draw(fresh.unionByName(kept_choices(kept, options, settings)), night.ds, settings)


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


def _values_of(table: Table) -> dict[str, str | Column]:
    """Each of the contract's columns from the source of a merge; the target may have others."""
    return {name: f"s.{name}" for name in table.column_names}


def merge(target: DeltaTable, changes: DataFrame, ds: date) -> dict[str, int]:
    """Merge in one commit, or in none if nothing changed. Returns the rows inserted, updated and deleted."""
    counts = {row["source"]: row["count"] for row in changes.groupBy("source").count().collect()}
    if not counts:
        return {"inserted": 0, "updated": 0, "deleted": 0}
    not_newer = f"t.ds <= date'{ds}'"
    values = _values_of(ARTWORK_SELECTIONS)
    metrics = (
        target.alias("t")
        .merge(changes.alias("s"), "t.bucket = s.bucket AND t.user_id = s.user_id AND t.title_id = s.title_id")
        .whenMatchedDelete(f"s.source = '{REMOVED}' AND {not_newer}")
        .whenMatchedUpdate(not_newer, values)
        .whenNotMatchedInsert(f"s.source != '{REMOVED}'", values)
        .execute()
        .collect()[0]
    )
    return {
        "inserted": metrics["num_inserted_rows"],
        "updated": metrics["num_updated_rows"],
        "deleted": metrics["num_deleted_rows"],
    }


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
    values = _values_of(TITLE_DEFAULTS)
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
        options = title_options(night.tonight(TITLE_CHOICES)).persist(StorageLevel.MEMORY_AND_DISK)
        pairs = pairs_by_kind(night.tonight(WANTED_PAIRS), options, night.settings)
        found = {table.name: warehouse.state(table) for table in (ARTWORK_SELECTIONS, ARTWORK_SELECTION_LOG)}
        before = published_before(night, found)
        decided = decide(night, pairs, options, before, found)
        after = materialized(state_after(decided, before, night.ds))
        made = after.agg(
            F.count_if(F.col("source") != REMOVED).alias("standing"), F.count_if("changed").alias("changed")
        ).collect()[0]
        night.replace(ARTWORK_SELECTION_LOG, after.where("changed").repartition(1) if made["changed"] else None)

        newer = published_nights(night, ">")
        changes = changes_to(now(ARTWORK_SELECTIONS), after, night.ds)
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
