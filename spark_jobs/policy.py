"""From probabilities to a choice: the policy, and one draw from it.

A pair's options are an array of structs (artwork_id, probability); a distribution adds `propensity`, the policy's
probability of choosing the artwork.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.settings import Settings


def scored_options(artwork_ids: Column, probabilities: Column) -> Column:
    """A pair's options, from its row of `artwork_scores`."""
    return F.zip_with(
        artwork_ids,
        probabilities,
        lambda artwork, probability: F.struct(artwork.alias("artwork_id"), probability.alias("probability")),
    )


def explored(options: Column, settings: Settings) -> Column:
    """π = (1 − ε) softmax(log p / T) + ε / K over the options; with ε = 0, 1 for the best option and 0 elsewhere."""
    size = F.size(options)
    if settings.epsilon == 0:
        # A choice that is removed has no options.
        best = F.get(ranked(options), F.lit(0))["artwork_id"]
        return _computed_once(
            best, lambda best: _with_propensity(options, lambda option: (option["artwork_id"] == best).cast("double"))
        )
    # softmax(log p / T) = (p / m)^(1/T) / Σ (p / m)^(1/T). With m the largest p, one term is 1 and none is larger:
    # the sum neither underflows nor overflows.
    largest = F.array_max(F.transform(options, lambda option: option["probability"]))

    def unnormalized(option: Column, most: Column) -> Column:
        return F.pow(option["probability"] / most, F.lit(1 / settings.temperature))

    def total(most: Column) -> Column:
        return F.aggregate(options, F.lit(0.0), lambda sum_, option: sum_ + unnormalized(option, most))

    def propensities(most: Column, sum_: Column) -> Column:
        return _with_propensity(
            options,
            lambda option: (
                F.lit(1 - settings.epsilon) * unnormalized(option, most) / sum_ + F.lit(settings.epsilon) / size
            ),
        )

    return _computed_once(largest, lambda most: _computed_once(total(most), lambda sum_: propensities(most, sum_)))


def _computed_once(value: Column, use: Callable[[Column], Column]) -> Column:
    """`use(value)`, with `value` computed once: Spark computes an expression in a lambda again for each element."""
    return F.transform(F.array(value), use)[0]


def uniform(artwork_ids: Column) -> Column:
    """1 / K each: the distribution of the exploring slice, and of a pair with one artwork."""
    share = F.lit(1.0) / F.size(artwork_ids)
    return F.transform(
        artwork_ids,
        lambda artwork: F.struct(artwork.alias("artwork_id"), share.alias("probability"), share.alias("propensity")),
    )


def _with_propensity(options: Column, propensity: object) -> Column:
    return F.transform(
        options,
        lambda option: F.struct(
            option["artwork_id"].alias("artwork_id"),
            option["probability"].alias("probability"),
            propensity(option).alias("propensity"),  # type: ignore[operator]
        ),
    )


def ranked(options: Column) -> Column:
    """The options, most probable first; ties by id."""
    keyed = F.transform(
        options,
        lambda option: F.struct(
            (-option["probability"]).alias("a"), option["artwork_id"].alias("b"), option.alias("option")
        ),
    )
    return F.transform(F.array_sort(keyed), lambda item: item["option"])


def entropy(distribution: Column) -> Column:
    """−Σ π ln π / ln K: 0 if one artwork is certain, 1 if the choice is uniform; null for fewer than two artworks."""

    def term(sum_: Column, option: Column) -> Column:
        share = option["propensity"]
        return sum_ - F.when(share > 0, share * F.ln(share)).otherwise(0.0)

    size = F.size(distribution)
    return F.when(size > 1, F.aggregate(distribution, F.lit(0.0), term) / F.ln(F.greatest(size, F.lit(2))))


def epoch(user_id: Column, day: Column, settings: Settings) -> Column:
    """The number of the user's epoch on a day. Epochs last `epoch_days`; a hash of the user staggers their starts."""
    offset = F.pmod(F.xxhash64(user_id, F.lit(settings.salt), F.lit("epoch")), F.lit(settings.epoch_days))
    return F.floor((F.unix_date(day) + offset) / settings.epoch_days)


def first_of_draws(impressions: DataFrame, settings: Settings) -> DataFrame:
    """The first impression of each draw: the impressions of a draw share one random outcome.

    A draw is a user, title, artwork and propensity within the user's epoch. The rows are aggregated, because a window
    would bring all rows of a draw into one task.
    """
    number = epoch(F.col("user_id"), F.col("ds"), settings)
    return (
        impressions.groupBy("user_id", "title_id", "artwork_id", "propensity", number.alias("epoch"))
        .agg(F.min_by(F.struct(*impressions.columns), "shown_at").alias("first"))
        .select("first.*")
    )


def explores(user_id: Column, settings: Settings) -> Column:
    """Whether the user is in the exploring slice, whose choices are uniform."""
    place = F.pmod(F.xxhash64(user_id, F.lit(settings.salt), F.lit("uniform")), F.lit(1_000_000))
    return place < settings.uniform_share * 1_000_000


def drawn(distribution: Column, user_id: Column, title_id: Column, ds: date, settings: Settings) -> Column:
    """The option drawn: the one at which a hash of (user, title, epoch, salt) falls in the cumulative distribution.

    Options are sorted by id, so that a small change of the distribution changes few draws.
    """
    hashed = F.xxhash64(user_id, title_id, epoch(user_id, F.lit(ds), settings), F.lit(settings.salt))
    # The upper 53 bits of the hash as a double in [0, 1).
    point = F.shiftrightunsigned(hashed, 11).cast("double") / float(2**53)
    laid_out = F.array_sort(distribution)
    start = F.struct(F.lit(0.0).alias("sum"), F.lit(-1).alias("index"), F.lit(-1).alias("possible"))

    def step(state: Column, item: Column) -> Column:
        index = item["index"]
        sum_ = state["sum"] + item["propensity"]
        found = (state["index"] < 0) & (sum_ > point)
        return F.struct(
            sum_.alias("sum"),
            F.when(found, index).otherwise(state["index"]).alias("index"),
            F.when(item["propensity"] > 0, index).otherwise(state["possible"]).alias("possible"),
        )

    indexed = F.transform(
        laid_out, lambda option, index: F.struct(option["propensity"].alias("propensity"), index.alias("index"))
    )
    # If rounding leaves the sum below the point, take the last option with a positive propensity.
    end = F.aggregate(
        indexed, start, step, lambda state: F.when(state["index"] >= 0, state["index"]).otherwise(state["possible"])
    )
    return F.get(laid_out, end)
