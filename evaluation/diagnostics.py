"""Checks whether the log can support an estimate, before any number is given.

A failed check becomes a sentence with its figures, and a group of rows with such a sentence gets no estimate. Rows are
those of evaluation/estimators.py, with these additional columns:

    options          number of artworks that could have been shown
    propensity       the logged propensity
    eligible         whether the artwork that was shown is one of them
    uniform_weight   1 / (options · propensity): the weight of the uniform policy. Null for the logging policy, whose
                     value is a plain mean and needs no propensities
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

MIN_IMPRESSIONS = 100
MIN_USERS = 30
"""An interval clustered by user needs about this many users to be reliable."""
MIN_EFFECTIVE = 50.0
"""Least effective sample size: (Σw)² / Σw²."""
MAX_ERRORS = 3.0
"""Most standard errors between a mean weight and 1."""
TAIL = 0.01
MAX_TAIL_SHARE = 0.5
"""Most of the total weight that the largest TAIL of the weights may have."""
MAX_UNSUPPORTED = 0.01
"""Most of a policy's probability that may fall on artworks where the log shows another one for certain."""

_CERTAIN = 1 - 1e-9


def check_sums() -> dict[str, Column]:
    """A row's term of each sum that the checks use; `user_sums` sums them by user."""
    weight, uniform, propensity = F.col("target.weight"), F.col("uniform_weight"), F.col("propensity")
    good = propensity.isNotNull() & (propensity > 0) & (propensity <= 1)
    certain = good & (propensity >= _CERTAIN) & (F.col("options") > 1)
    in_tail = weight > F.col("tail_from")
    return {
        "impressions": F.lit(1),
        "bad_propensities": 1 - _number(good),
        "not_eligible": 1 - _number(F.col("eligible")),
        "certain": _number(certain),
        "unsupported": F.when(certain, 1 - F.col("target.agrees")).otherwise(0.0),
        "weights": weight,
        "squared_weights": weight * weight,
        "positive": _number(weight > 0),
        "tail_weights": F.when(in_tail, weight).otherwise(0.0),
        "in_tail": _number(in_tail),
        "tail_from_sum": F.col("tail_from"),
        "uniform_weights": uniform,
        "squared_uniform_weights": uniform * uniform,
    }


def _number(condition: Column) -> Column:
    return F.coalesce(condition.cast("double"), F.lit(0.0))


def with_tail(rows: DataFrame, by: Sequence[str]) -> DataFrame:
    """`rows` with tail_from: the weight above which the largest TAIL of the group's positive weights are."""
    weight = F.col("target.weight")
    limits = rows.where(weight > 0).groupBy(*by).agg(F.percentile_approx(weight, 1 - TAIL).alias("tail_from"))
    return rows.join(F.broadcast(limits), list(by), how="left")


def refusals(sums: DataFrame, by: Sequence[str]) -> DataFrame:
    """`by`, impressions, users, effective_size, refused: one row per group, from `user_sums`.

    `refused` is null if all checks pass. Checks of mean weights use standard errors clustered by user.
    """
    totals = sums.groupBy(*by).agg(
        F.count(F.lit(1)).alias("users"),
        *(F.sum(name).alias(name) for name in check_sums()),
        *_squares("weights"),
        *_squares("uniform_weights"),
    )
    found = (
        totals.withColumn("effective_size", _effective("weights", "squared_weights"))
        .withColumn("uniform_effective_size", _effective("uniform_weights", "squared_uniform_weights"))
        .withColumn("tail_share", _tail_share())
        .withColumns({**_mean("weights"), **_mean("uniform_weights")})
    )
    sentences = F.concat_ws(" ", *(F.when(failed, sentence) for failed, sentence in _checks()))
    return found.select(*by, "impressions", "users", "effective_size", F.nullif(sentences, F.lit("")).alias("refused"))


def _checks() -> list[tuple[Column, Column]]:
    """(condition of failure, sentence) of each check."""
    return [*_checks_of_rows(), *_checks_of_means(), *_checks_of_sizes()]


def _checks_of_rows() -> list[tuple[Column, Column]]:
    n, users = F.col("impressions"), F.col("users")
    return [
        (
            (n < MIN_IMPRESSIONS) | (users < MIN_USERS),
            F.format_string(
                f"There are %d impressions of %d users; an interval needs at least {MIN_IMPRESSIONS} of {MIN_USERS}.",
                n,
                users,
            ),
        ),
        (
            F.col("bad_propensities") > 0,
            F.format_string(
                "%,.0f of %,d impressions have a propensity that is missing, 0 or less, or above 1: they were logged "
                "wrongly.",
                F.col("bad_propensities"),
                n,
            ),
        ),
        (
            F.col("not_eligible") > 0,
            F.format_string(
                "%,.0f of %,d impressions show an artwork that is not among the eligible ones.",
                F.col("not_eligible"),
                n,
            ),
        ),
        (
            F.col("unsupported") / n > MAX_UNSUPPORTED,
            F.format_string(
                "The log shows one artwork for certain in %.0f %% of the impressions, and %.0f %% of the policy's "
                "choices have no probability there: the log has no data on them.",
                100 * F.col("certain") / n,
                100 * F.col("unsupported") / n,
            ),
        ),
    ]


def _checks_of_means() -> list[tuple[Column, Column]]:
    return [
        (
            _off("weights"),
            F.format_string(
                f"The policy's mean weight is %.3f ± %.3f, over {MAX_ERRORS:.0f} standard errors from 1: %s.",
                F.col("mean_weights"),
                F.col("error_weights"),
                F.when(
                    F.col("mean_weights") < 1,
                    "it shows artworks that the log never shows, or propensities were logged too large",
                ).otherwise("propensities were logged too small"),
            ),
        ),
        (
            _off("uniform_weights"),
            F.format_string(
                f"The propensities do not add up: the mean weight of a uniform policy is %.3f ± %.3f, over "
                f"{MAX_ERRORS:.0f} standard errors from 1. That concerns every policy.",
                F.col("mean_uniform_weights"),
                F.col("error_uniform_weights"),
            ),
        ),
    ]


def _checks_of_sizes() -> list[tuple[Column, Column]]:
    n = F.col("impressions")
    return [
        (
            F.col("effective_size") < MIN_EFFECTIVE,
            F.format_string(
                f"The weights of %,d impressions amount to %.1f (effective sample size), under {MIN_EFFECTIVE:.0f}.",
                n,
                F.col("effective_size"),
            ),
        ),
        (
            F.col("uniform_effective_size") < MIN_EFFECTIVE,
            F.format_string(
                "Whether the propensities add up cannot be checked: a few have nearly all the weight of a uniform "
                f"policy (effective sample size %.1f of %,d impressions, under {MIN_EFFECTIVE:.0f}).",
                F.col("uniform_effective_size"),
                n,
            ),
        ),
        (
            F.col("tail_share") > MAX_TAIL_SHARE,
            F.format_string(
                f"The largest {100 * TAIL:.0f} %% of the weights have %.0f %% of the total weight, over "
                f"{100 * MAX_TAIL_SHARE:.0f} %%.",
                100 * F.col("tail_share"),
            ),
        ),
    ]


def _squares(name: str) -> list[Column]:
    """The sums for the clustered error of a mean of `name`: Σ_u S_u², Σ_u S_u n_u and Σ_u n_u²."""
    sum_ = F.coalesce(F.col(name), F.lit(0.0))
    return [
        F.sum(sum_ * sum_).alias(f"{name}_ss"),
        F.sum(sum_ * F.col("impressions")).alias(f"{name}_sn"),
        F.sum(F.col("impressions") * F.col("impressions")).alias(f"{name}_nn"),
    ]


def _mean(name: str) -> dict[str, Column]:
    """The mean of `name` over rows, and its standard error clustered by user."""
    n = F.col("impressions")
    mean = F.col(name) / n
    squares = F.col(f"{name}_ss") - 2 * mean * F.col(f"{name}_sn") + mean * mean * F.col(f"{name}_nn")
    return {f"mean_{name}": mean, f"error_{name}": F.sqrt(F.greatest(squares, F.lit(0.0))) / n}


def _off(name: str) -> Column:
    """Whether the mean weight is too far from 1; not if it is null, as for the logging policy."""
    distance = F.abs(F.col(f"mean_{name}") - 1)
    # Equal weights have no error; rounding alone must not fail the check.
    return distance > F.greatest(MAX_ERRORS * F.col(f"error_{name}"), F.lit(1e-6))


def _effective(weights: str, squares: str) -> Column:
    """(Σw)² / Σw²; 0 without any weight, null where weights have no meaning."""
    size = F.col(weights) * F.col(weights) / F.nullif(F.col(squares), F.lit(0.0))
    return F.when(F.col(squares) == 0, 0.0).otherwise(size)


def _tail_share() -> Column:
    """The share of the total weight in the largest TAIL of the positive weights.

    If many weights are equal, fewer rows than that are above tail_from; the missing ones have weight tail_from.
    """
    missing = F.greatest(TAIL * F.col("positive") - F.col("in_tail"), F.lit(0.0))
    tail_from = F.col("tail_from_sum") / F.col("impressions")
    return (F.col("tail_weights") + missing * tail_from) / F.nullif(F.col("weights"), F.lit(0.0))
