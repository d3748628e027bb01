"""The baselines' features of users and artworks: themes, as numbers.

A user's themes come from the viewings in the context: nothing that was unknown when the artwork was shown, and nothing
that a model does not see.
"""

from __future__ import annotations

from pyspark.ml.feature import Interaction, VectorAssembler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from evaluation.log import of_shown
from spark_jobs.play_rates import counted, play_rates

MOST_THEMES = 24
"""Number of themes, those of the most artworks. Their products are features, so there are at most 24 × 24 of those."""


def vocabulary(artworks: DataFrame) -> list[str]:
    """The MOST_THEMES themes of the most artworks, ties by name."""
    counts = _themes_of(artworks).groupBy("theme").count().orderBy(F.desc("count"), "theme")
    return [row["theme"] for row in counts.limit(MOST_THEMES).collect()]


def rare_themes(artworks: DataFrame) -> list[str]:
    """The third of all themes with the fewest artworks, ties by name."""
    counts = [row["theme"] for row in _themes_of(artworks).groupBy("theme").count().orderBy("count", "theme").collect()]
    return counts[: len(counts) // 3]


def _themes_of(artworks: DataFrame) -> DataFrame:
    return artworks.select("artwork_id", F.explode(clean("themes")).alias("theme")).distinct()


def clean(themes: str) -> Column:
    """An artwork's themes in lower case, as in prompts; empty for null."""
    return F.transform(F.coalesce(F.col(themes), F.array().cast("array<string>")), lambda theme: F.lower(F.trim(theme)))


def with_user_themes(log: DataFrame, themes: list[str]) -> DataFrame:
    """`log` with user_themes: for each theme, the share of the titles in `watched_genres` that have it."""

    def share(theme: str) -> Column:
        having = F.filter("watched_genres", lambda genres: F.array_contains(genres, theme))
        return F.size(having) / F.greatest(F.size("watched_genres"), F.lit(1))

    return log.withColumn("user_themes", F.array(*(share(theme) for theme in themes)))


def artwork_themes(artworks: DataFrame, themes: list[str]) -> DataFrame:
    """artwork_id, artwork_themes: for each theme 1 / (number of the artwork's themes) if the artwork has it, else 0."""
    own = clean("themes")
    share = 1 / F.greatest(F.size(own), F.lit(1))
    shares = F.array(*(F.when(F.array_contains(own, theme), share).otherwise(0.0) for theme in themes))
    return artworks.select("artwork_id", shares.alias("artwork_themes"))


def learned_play_rates(training: DataFrame, artworks: DataFrame) -> DataFrame:
    """artwork_id, play_rate from the training examples, each the first impression of a draw."""
    shown = training.select(
        "title_id", of_shown(F.col("artwork_ids")).alias("artwork_id"), (F.col("reward") > 0).alias("played")
    )
    return play_rates(counted(shown), artworks).drop("title_id")


def with_crossed(pairs: DataFrame, themes: int) -> DataFrame:
    """`pairs` with the bandit's `features`: artwork themes, and the product of each user theme with each artwork theme.

    `themes` is the number of themes. Most products are 0; Spark ML's own stages keep them sparse.
    """
    for name in ("user_themes", "artwork_themes"):
        each = {f"{name}_{number}": F.get(name, F.lit(number)) for number in range(themes)}
        vectors = VectorAssembler(inputCols=list(each), outputCol=f"{name}_vector")
        pairs = vectors.transform(pairs.withColumns(each)).drop(*each)
    products = Interaction(inputCols=["user_themes_vector", "artwork_themes_vector"], outputCol="products")
    whole = VectorAssembler(inputCols=["artwork_themes_vector", "products"], outputCol="features")
    return whole.transform(products.transform(pairs)).drop("user_themes_vector", "artwork_themes_vector", "products")


def with_matched(pairs: DataFrame) -> DataFrame:
    """`pairs` with q̂'s `features`: user themes, artwork themes, their products theme by theme, and the log-odds of the
    play rate.
    """
    products = F.zip_with("user_themes", "artwork_themes", lambda user, artwork: user * artwork)
    rate = F.least(F.greatest("play_rate", F.lit(0.001)), F.lit(0.999))
    odds = F.array(F.log(rate / (1 - rate)))
    whole = F.concat("user_themes", "artwork_themes", products, odds)
    return pairs.withColumn("features", array_to_vector(whole))
