"""Inputs of any size for the step contexts, made by Spark from ids: everything of a user is a hash of the user's id.

The catalogue is that of the simulated service, of 500 titles; it does not grow with the users.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.prompt_bucket import TITLES_PER_USER
from benchmarks.selections_table import USERS_A_BUCKET
from examples.catalogue import Artwork, Title, make_artworks, make_title
from examples.service import Service, input_tables
from inference.champion import Chosen
from inference.checkpoint import read_checkpoint
from schemas.contract import Table
from schemas.settings import Settings
from schemas.tables import ARTWORKS, TITLES, VIEWING_HISTORY, WANTED_PAIRS
from spark_jobs.warehouse import Night, Warehouse, bucket

DS = date(2026, 1, 14)
HEAVY_USER, HEAVY_VIEWINGS = "u0", 50_000
"""A user of the skewed inputs, and how much that user has watched: as many different titles."""

_SEED = 7
_CATALOGUE = 500
_VIEWINGS = 22
_DAYS = 14
# Titles that a user wants are this far apart: 20 of them are different.
_APART = 23


def settings_for(warehouse: str, users: int) -> Settings:
    """No exploring slice, so that every pair is asked and both sides hold the same."""
    buckets = max(16, users // USERS_A_BUCKET)
    return Settings().model_copy(update={"warehouse": warehouse, "buckets": buckets, "uniform_share": 0.0})


def make_inputs(spark: SparkSession, settings: Settings, users: int, skewed: bool) -> Night:
    """Fill a new warehouse for one night up to the step contexts. Users are u0, u1, …

    `skewed`: every user has watched the title t0, and the user u0 50,000 titles, all of which the catalogue has.
    """
    warehouse = Warehouse(spark, settings)
    rows = _catalogue(warehouse)
    if skewed:
        rows[TITLES] = rows[TITLES].unionByName(_more_titles(rows[TITLES]))
    rows[VIEWING_HISTORY] = (
        viewings(spark, users, skewed)
        .withColumn("completion", F.pmod(F.xxhash64("user_id", "title_id"), F.lit(101)) / 100)
        .withColumn("watch_date", F.to_date("watched_at"))
    )
    for table, frame in rows.items():
        writer = frame.select(*table.column_names).write.format("delta").partitionBy(*table.partitioned_by)
        writer.save(warehouse.path(table))
    warehouse.create_missing()
    night = Night(warehouse, DS)
    night.note_inputs()
    night.note_model(Chosen(read_checkpoint(settings.model), "the setting model: a benchmark"))
    wanted = _wanted(spark.range(users), settings.buckets)
    night.replace(
        WANTED_PAIRS, wanted.repartition(settings.buckets, "bucket").sortWithinPartitions("bucket", "user_id")
    )
    return night


def _catalogue(warehouse: Warehouse) -> dict[Table, DataFrame]:
    """Titles t0, t1, … with two artworks or more, all active."""
    titles: list[Title] = []
    artworks: list[Artwork] = []
    number = 0
    while len(titles) < _CATALOGUE:
        title = make_title(_SEED, f"t{number}")
        number += 1
        active = [each for each in make_artworks(_SEED, title, DS, DS) if each.active_on(DS)]
        if len(active) < 2:
            continue
        title_id = f"t{len(titles)}"
        titles.append(replace(title, title_id=title_id))
        artworks += [replace(each, title_id=title_id) for each in active]
    service = Service(titles, artworks, [], {}, DS, DS)
    contents = {table: content.to_pylist() for table, content in input_tables(service) if table in (TITLES, ARTWORKS)}
    return {table: warehouse.frame(table, rows) for table, rows in contents.items()}


def _more_titles(titles: DataFrame) -> DataFrame:
    """Titles after the catalogue's last, up to HEAVY_VIEWINGS: its own again, numbered."""
    like = F.concat(F.lit("t"), F.pmod("id", F.lit(_CATALOGUE)))
    ids = titles.sparkSession.range(_CATALOGUE, HEAVY_VIEWINGS).select("id", like.alias("title_id"))
    return (
        ids.join(titles, "title_id", how="inner")
        .withColumn("name", F.concat("name", F.lit(" "), F.col("id").cast("string")))
        .withColumn("title_id", F.concat(F.lit("t"), "id"))
        .drop("id")
    )


def _user() -> Column:
    return F.concat(F.lit("u"), "id").alias("user_id")


def _moment(*key: str) -> Column:
    """A second of the last 14 days."""
    first = datetime(DS.year, DS.month, DS.day, tzinfo=UTC) - timedelta(days=_DAYS - 1)
    seconds = F.pmod(F.xxhash64(*key, F.lit("at")), F.lit(_DAYS * 86_400))
    return F.timestamp_seconds(seconds + int(first.timestamp())).alias("watched_at")


def viewings(spark: SparkSession, users: int, skewed: bool) -> DataFrame:
    """user_id, title_id, watched_at: 22 viewings of each user, and those that make them uneven."""
    number = F.explode(F.sequence(F.lit(0), F.lit(_VIEWINGS - 1))).alias("number")
    title = F.concat(F.lit("t"), F.pmod(F.xxhash64("user_id", "number"), F.lit(_CATALOGUE))).alias("title_id")
    even = spark.range(users).select(_user(), number).select("user_id", title, _moment("user_id", "number"))
    if not skewed:
        return even
    titles = spark.range(HEAVY_VIEWINGS).select(F.concat(F.lit("t"), "id").alias("title_id"), "id")
    heavy = titles.select(F.lit(HEAVY_USER).alias("user_id"), "title_id", _moment("id"))
    everyone = spark.range(users).select(_user(), F.lit("t0").alias("title_id"), _moment("id"))
    return even.unionByName(heavy).unionByName(everyone)


def _wanted(users: DataFrame, buckets: int) -> DataFrame:
    """Rows of `wanted_pairs`: 20 different titles for each user."""
    title_ids = F.transform(
        F.sequence(F.lit(0), F.lit(TITLES_PER_USER - 1)),
        lambda number: F.concat(
            F.lit("t"), F.pmod(F.pmod(F.xxhash64("user_id"), F.lit(_CATALOGUE)) + number * _APART, F.lit(_CATALOGUE))
        ),
    )
    return users.select(_user()).select(
        F.lit(DS).alias("ds"),
        bucket(F.col("user_id"), buckets).alias("bucket"),
        "user_id",
        title_ids.alias("title_ids"),
    )
