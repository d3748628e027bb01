"""The slices of the log that get estimates of their own.

Each depends only on facts before the choice: the user, the title and the eligible artworks. A slice by the shown
artwork would depend on the policies' decision, and within it no weight has mean 1.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from evaluation.features import clean
from evaluation.gate import ALL
from evaluation.log import KEY, held_out, options_of


def with_slices(log: DataFrame, examples: DataFrame, artworks: DataFrame, rare: list[str]) -> DataFrame:
    """`log` with `slices`, an array of structs (slice_by, slice):

    artworks     number of eligible artworks
    popularity   of the title: titles sorted by their impressions in `examples`, cut into thirds of the impressions
    history      number of titles that the user had watched
    niche        whether an eligible artwork has a theme of `rare`, the third of all themes with the fewest artworks
    """
    slices = {
        ALL: F.lit(ALL),
        "artworks": banded(F.size("artwork_ids"), {3: "2-3", 6: "4-6", 12: "7-12"}, "13-40"),
        "popularity": F.coalesce("popularity", F.lit("least popular")),
        "history": banded(F.col("history_titles"), {0: "0", 9: "1-9", 19: "10-19"}, "20 or more"),
        "niche": F.when(F.col("niche"), "a niche artwork").otherwise("none"),
    }
    structs = [F.struct(F.lit(by).alias("slice_by"), each.alias("slice")) for by, each in slices.items()]
    return (
        log.join(F.broadcast(popularity(examples)), "title_id", how="left")
        .join(with_niche(held_out(examples), artworks, rare), list(KEY), how="left")
        .withColumn("slices", F.array(*structs))
        .drop("popularity", "niche")
    )


def banded(number: Column, most: dict[int, str], else_: str) -> Column:
    """The name of the first band whose largest number `number` does not exceed."""
    band = F.lit(else_)
    for largest, name in reversed(most.items()):
        band = F.when(number <= largest, name).otherwise(band)
    return band


def popularity(examples: DataFrame) -> DataFrame:
    """title_id, popularity: the title's third of the impressions."""
    counts = examples.groupBy("title_id").count()
    before = F.sum("count").over(Window.orderBy(F.desc("count"), "title_id")) - F.col("count")
    share = before / F.sum("count").over(Window.partitionBy())
    third = F.when(share < 1 / 3, "most popular").when(share < 2 / 3, "middle").otherwise("least popular")
    return counts.select("title_id", third.alias("popularity"))


def with_niche(log: DataFrame, artworks: DataFrame, rare: list[str]) -> DataFrame:
    """KEY, niche: whether an eligible artwork has a rare theme."""
    themes = F.array(*(F.lit(theme) for theme in rare)).cast("array<string>")
    marked = artworks.select("artwork_id", F.arrays_overlap(clean("themes"), themes).alias("rare"))
    options = options_of(log).join(marked, "artwork_id", how="left")
    return options.groupBy(*KEY).agg(F.coalesce(F.max("rare"), F.lit(False)).alias("niche"))
