"""What a traditional recommender knows, in words for the model: how often each artwork is played.

The words for a day come from impressions of the `history_days` before it: nothing on that day or later changes them.
Only the first impression of a draw counts, as in post-training: a draw shows its artwork again because it was not
played.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.settings import Settings
from schemas.tables import IMPRESSIONS
from spark_jobs.hashing import list_hash
from spark_jobs.inputs import with_broken_rule
from spark_jobs.play_rates import ARTWORK_SPREAD, counted, overall_rate, with_rates
from spark_jobs.policy import first_of_draws
from spark_jobs.session import materialized
from spark_jobs.warehouse import Night

PLAY_RATE = "play_rate"

BANDS = ("played very seldom", "played seldom", "played as most", "played often", "played very often")
# The artworks' deviation and a third of it: each band has about a fifth of the artworks, and one lucky play moves no
# artwork out of the middle band.
EDGES = (-ARTWORK_SPREAD, -ARTWORK_SPREAD / 3, ARTWORK_SPREAD / 3, ARTWORK_SPREAD)


def plays_up_to(night: Night, days: int) -> DataFrame:
    """`daily_plays` of good impressions of ds and the `days` before it."""
    # One epoch more, so that what looks like a draw's first impression really is.
    oldest = F.date_sub(F.lit(night.ds), days + night.settings.epoch_days)
    logged = night.input(IMPRESSIONS).where(F.col("ds").between(oldest, F.lit(night.ds)))
    good = with_broken_rule(IMPRESSIONS, logged, {}, night.ds).where(F.col("rule").isNull())
    return daily_plays(good, night.settings)


def daily_plays(impressions: DataFrame, settings: Settings) -> DataFrame:
    """title_id, artwork_id, day, shown, plays: the first impressions of draws, counted by day."""
    return counted(first_of_draws(impressions, settings), F.col("ds").alias("day"))


def play_rate_bands(daily: DataFrame, asked: DataFrame, settings: Settings) -> DataFrame:
    """title_id, artwork_id, day, band: a row for each such triple in `asked`. Band is null for an artwork never shown.

    The log-odds of the artwork's rate minus those of its title's rate (spark_jobs/play_rates.py) choose the band.
    """
    none = F.lit(0).cast("long")
    questions = asked.select(
        "title_id", "artwork_id", "day", none.alias("shown"), none.alias("plays"), F.lit(True).alias("asked")
    )
    of_artwork, of_title = ["title_id", "artwork_id"], ["title_id"]
    return (
        daily.withColumn("asked", F.lit(False))
        .unionByName(questions)
        .groupBy("title_id", "artwork_id", "day")
        .agg(F.sum("shown").alias("shown"), F.sum("plays").alias("plays"), F.max("asked").alias("asked"))
        .select(
            "title_id",
            "artwork_id",
            "day",
            "asked",
            _before("shown", of_artwork, settings).alias("own_shown"),
            _before("plays", of_artwork, settings).alias("own_plays"),
            _before("shown", of_title, settings).alias("title_shown"),
            _before("plays", of_title, settings).alias("title_plays"),
        )
        .where("asked")
        .join(F.broadcast(overall_rates(daily, asked, settings)), "day", how="inner")
        .transform(with_rates)
        .select(
            "title_id",
            "artwork_id",
            "day",
            F.when(F.col("own_shown") > 0, _band(_log_odds("rate") - _log_odds("title_rate"))).alias("band"),
        )
    )


def overall_rates(daily: DataFrame, asked: DataFrame, settings: Settings) -> DataFrame:
    """day, overall: per day in `asked`, the play rate of all impressions of the `history_days` before; never 0 or 1."""
    totals = daily.groupBy(F.col("day").alias("before")).agg(
        F.sum("shown").alias("shown"), F.sum("plays").alias("plays")
    )
    known = F.col("before").between(F.date_sub("day", settings.history_days), F.date_sub("day", 1))
    shown, plays = (F.coalesce(F.sum(name), F.lit(0)) for name in ("shown", "plays"))
    return (
        asked.select("day")
        .distinct()
        .join(F.broadcast(totals), known, how="left")
        .groupBy("day")
        .agg(overall_rate(plays, shown).alias("overall"))
    )


def with_band(artworks: DataFrame, night: Night) -> DataFrame:
    """`artworks` with the band of each as of ds."""
    daily = materialized(plays_up_to(night, night.settings.history_days))
    asked = artworks.select("title_id", "artwork_id", F.lit(night.ds).alias("day"))
    bands = play_rate_bands(daily, asked, night.settings).drop("day")
    return artworks.join(bands, ["title_id", "artwork_id"], how="left")


def with_bands(sample: DataFrame, night: Night) -> DataFrame:
    """`sample` of impressions with bands: that of each eligible artwork as of the impression's day, "" for none. Their
    hash is appended to choice_key, which then identifies title, artworks and bands. With the signal off, bands is an
    empty array.
    """
    settings = night.settings
    if PLAY_RATE not in settings.signals:
        return sample.withColumn("bands", F.array().cast("array<string>"))
    # As far back as the oldest impression needs.
    daily = materialized(plays_up_to(night, 2 * settings.history_days))
    asked = sample.select("title_id", F.explode("eligible").alias("artwork_id"), F.col("ds").alias("day"))
    known = (
        play_rate_bands(daily, asked, settings)
        .where(F.col("band").isNotNull())
        .groupBy("title_id", F.col("day").alias("ds"))
        .agg(F.map_from_entries(F.collect_list(F.struct("artwork_id", "band"))).alias("known"))
    )
    # Not null, which a hash skips: it would not show which of two artworks was the one never shown.
    bands = F.transform("eligible", lambda artwork: F.coalesce(F.try_element_at("known", artwork), F.lit("")))
    return (
        sample.join(known, ["title_id", "ds"], how="left")
        .withColumn("bands", bands)
        .withColumn("choice_key", F.concat("choice_key", F.lit("@"), F.hex(list_hash(F.col("bands")))))
        .drop("known")
    )


def _before(count: str, of: list[str], settings: Settings) -> Column:
    """The sum of a count over the `history_days` before each row's day."""
    days = Window.partitionBy(*of).orderBy(F.unix_date("day")).rangeBetween(-settings.history_days, -1)
    return F.coalesce(F.sum(count).over(days), F.lit(0))


def _log_odds(rate: str) -> Column:
    return F.log(F.col(rate) / (1 - F.col(rate)))


def _band(difference: Column) -> Column:
    above = sum(((difference >= edge).cast("int") for edge in EDGES), start=F.lit(0))
    return F.get(F.array(*map(F.lit, BANDS)), above)
