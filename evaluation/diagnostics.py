"""Whether the log can support an answer, asked before any number is given.

What is wrong becomes a sentence with the figures, and a group of rows with such a sentence gets no estimate. Rows are
those of evaluation/estimators.py, with these columns besides:

    options          how many artworks could have been shown
    propensity       as it was logged
    eligible         whether the artwork that was shown is among them
    uniform_weight   1 / (options · propensity): the weight of the policy that shows any of them alike. Null for the
                     logging policy, whose value is a plain mean and asks nothing of the propensities
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

MIN_IMPRESSIONS = 100
MIN_USERS = 30
"""An interval that counts users needs about this many of them to be worth its name."""
MIN_EFFECTIVE = 50.0
"""Impressions that the weights amount to: (Σw)² / Σw²."""
MAX_ERRORS = 3.0
"""Standard errors by which a mean weight may miss 1."""
TAIL = 0.01
MAX_TAIL_SHARE = 0.5
"""Of all weight, what the largest TAIL of the weights may hold."""
MAX_UNSUPPORTED = 0.01
"""Of what a policy shows, what may stand where the log shows another artwork for certain."""

_CERTAIN = 1 - 1e-9


def check_sums() -> dict[str, Column]:
    """What a row adds to each sum that the checks are made of; `user_sums` adds them up by user."""
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
    """`rows` with tail_from: the weight above which the largest TAIL of the positive weights of the group lie."""
    weight = F.col("target.weight")
    limits = rows.where(weight > 0).groupBy(*by).agg(F.percentile_approx(weight, 1 - TAIL).alias("tail_from"))
    return rows.join(F.broadcast(limits), list(by), how="left")


def refusals(sums: DataFrame, by: Sequence[str]) -> DataFrame:
    """`by`, impressions, users, effective_size, refused: one row a group, from `user_sums`.

    `refused` is null where nothing is wrong. Mean weights are judged by standard errors that are clustered by user.
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
    """Each check: when it fails, and what is then said."""
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
                "%,.0f of %,d impressions have a propensity that is missing, 0 or less, or above 1: what was shown "
                "there was logged wrongly.",
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
                "The log shows one artwork for certain in %.0f %% of the impressions, and %.0f %% of what the policy "
                "shows has no probability there: nothing was seen of it.",
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
                    "it shows artworks that the log never does, or propensities were logged too large",
                ).otherwise("propensities were logged too small"),
            ),
        ),
        (
            _off("uniform_weights"),
            F.format_string(
                f"The propensities do not add up: the mean weight of a uniform policy is %.3f ± %.3f, over "
                f"{MAX_ERRORS:.0f} standard errors from 1, whatever policy is judged.",
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
                "Whether the propensities add up cannot be told: a few hold nearly all weight of a uniform policy "
                f"(effective sample size %.1f of %,d impressions, under {MIN_EFFECTIVE:.0f}).",
                F.col("uniform_effective_size"),
                n,
            ),
        ),
        (
            F.col("tail_share") > MAX_TAIL_SHARE,
            F.format_string(
                f"The largest {100 * TAIL:.0f} %% of the weights hold %.0f %% of all weight, over "
                f"{100 * MAX_TAIL_SHARE:.0f} %%.",
                100 * F.col("tail_share"),
            ),
        ),
    ]


def _squares(name: str) -> list[Column]:
    """What the clustered error of a mean of `name` needs besides the sums: Σ_u S_u², Σ_u S_u n_u and Σ_u n_u²."""
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
    """Whether the mean weight misses 1 by too much; a null one, of the logging policy, does not."""
    distance = F.abs(F.col(f"mean_{name}") - 1)
    # Weights that are all the same have no error; rounding alone must not refuse them.
    return distance > F.greatest(MAX_ERRORS * F.col(f"error_{name}"), F.lit(1e-6))


def _effective(weights: str, squares: str) -> Column:
    """(Σw)² / Σw²; 0 where there is no weight at all, null where weights have no meaning."""
    size = F.col(weights) * F.col(weights) / F.nullif(F.col(squares), F.lit(0.0))
    return F.when(F.col(squares) == 0, 0.0).otherwise(size)


def _tail_share() -> Column:
    """The share of all weight that the largest TAIL of the positive weights hold.

    Above tail_from may lie fewer rows than that, where many weights are equal; the rest of them weigh tail_from.
    """
    missing = F.greatest(TAIL * F.col("positive") - F.col("in_tail"), F.lit(0.0))
    tail_from = F.col("tail_from_sum") / F.col("impressions")
    return (F.col("tail_weights") + missing * tail_from) / F.nullif(F.col("weights"), F.lit(0.0))
