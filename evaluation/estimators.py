"""Estimators of a policy's value from impressions that another policy logged.

A row is one impression i of user u under one policy: `reward` r (1 if it was played), `q_shown` q̂(x, a) of the shown
artwork a, and the struct `target`, about the artworks that the policy would have shown:

    agrees   π(a | x), the policy's probability of the shown artwork (1 for the logging policy itself)
    weight   w = π(a | x) / p, with p the logged propensity of a
    q        q̂(x, π), the mean of q̂ under the policy
    truth    the mean of the true play probability under the policy; only where it is known

Every estimator is a ratio V = Σ a / Σ b of two sums over rows. So one rule gives every interval (`estimates`), and rows
of different logs, policies or slices differ only in their grouping columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from evaluation.diagnostics import check_sums, refusals, with_tail

CLIP = 10.0
"""clipped_ips clips weights at this; switch_dr omits the correction above it."""

_Z = 1.959964  # 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Terms:
    """One row's terms of an estimator's numerator and denominator."""

    numerator: Column
    denominator: Column


Estimator = Callable[[Column], Terms]
"""Maps a policy's struct to the terms of a row."""


def replay(side: Column) -> Terms:
    """V = Σ π(a) r / Σ π(a): the play rate where policy and log agree.

    Li, Chu, Langford and Wang, 2011. Unbiased only if every impression had the same number of artworks, each shown with
    the same probability; otherwise biased towards the logging policy's preferences.
    """
    return Terms(side["agrees"] * F.col("reward"), side["agrees"])


def ips(side: Column) -> Terms:
    """V = (1/n) Σ w r. Horvitz and Thompson, 1952. Unbiased if the propensities are right."""
    return Terms(side["weight"] * F.col("reward"), F.lit(1.0))


def clipped_ips(side: Column) -> Terms:
    """V = (1/n) Σ min(w, c) r, c = CLIP. Ionides, 2008. Biased towards 0 by the clipped weight."""
    return Terms(F.least(side["weight"], F.lit(CLIP)) * F.col("reward"), F.lit(1.0))


def snips(side: Column) -> Terms:
    """V = Σ w r / Σ w. Swaminathan and Joachims, 2015.

    Its bias vanishes as the number of rows grows, and a constant reward has an interval of width 0.
    """
    return Terms(side["weight"] * F.col("reward"), side["weight"])


def dm(side: Column) -> Terms:
    """V = (1/n) Σ q̂(x, π), the direct method: as accurate as q̂, whose error its interval does not include."""
    return Terms(side["q"], F.lit(1.0))


def dr(side: Column) -> Terms:
    """V = (1/n) Σ [q̂(x, π) + w (r − q̂(x, a))]. Dudík, Langford and Li, 2011.

    Unbiased if the propensities are right, whatever q̂ is; the better q̂, the narrower the interval.
    """
    return Terms(side["q"] + side["weight"] * (F.col("reward") - F.col("q_shown")), F.lit(1.0))


def switch_dr(side: Column) -> Terms:
    """As dr, without the correction where w > CLIP, and there as accurate as q̂. Wang, Agarwal and Dudík, 2017."""
    weight = F.when(side["weight"] <= CLIP, side["weight"]).otherwise(0.0)
    return Terms(side["q"] + weight * (F.col("reward") - F.col("q_shown")), F.lit(1.0))


def truth(side: Column) -> Terms:
    """V = (1/n) Σ of the true play probability under the policy, known only on a sample service."""
    return Terms(side["truth"], F.lit(1.0))


ESTIMATORS: Mapping[str, Estimator] = {
    estimator.__name__: estimator for estimator in (replay, ips, clipped_ips, snips, dm, dr, switch_dr)
}
PROMISED = ("ips", "snips", "dr")
"""The estimators whose 95 % intervals promise to contain the true value."""

# Numerator and denominator of the policy (a, b) and of the reference (c, d).
_TERMS = ("a", "b", "c", "d")


def user_sums(rows: DataFrame, by: Sequence[str], estimators: Mapping[str, Estimator] = ESTIMATORS) -> DataFrame:
    """`by`, user_id, `terms` (array of structs estimator, a, b) and the sums of the diagnostics: one row per user.

    Impressions of one user are not independent, so intervals count users. `by` contains `policy`.
    """
    terms = {name: estimator(F.col("target")) for name, estimator in estimators.items()}
    sums = [
        F.sum(column).alias(f"{name}_{letter}")
        for name, each in terms.items()
        for letter, column in (("a", each.numerator), ("b", each.denominator))
    ]
    checks = [F.sum(column).alias(name) for name, column in check_sums().items()]
    structs = [
        F.struct(F.lit(name).alias("estimator"), F.col(f"{name}_a").alias("a"), F.col(f"{name}_b").alias("b"))
        for name in terms
    ]
    return (
        with_tail(rows, by)
        .groupBy(*by, "user_id")
        .agg(*sums, *checks)
        .select(*by, "user_id", F.array(*structs).alias("terms"), *check_sums())
    )


def paired(sums: DataFrame, by: Sequence[str], reference: str) -> DataFrame:
    """`by`, user_id, estimator, a, b, c, d, from `user_sums`: c and d are the a and b of the policy `reference`
    over the same impressions.
    """
    rest = [name for name in by if name != "policy"]
    of_reference = sums.where(F.col("policy") == reference).select(*rest, "user_id", F.col("terms").alias("theirs"))
    both = F.zip_with(
        "terms",
        "theirs",
        lambda ours, theirs: F.struct(
            ours["estimator"].alias("estimator"),
            ours["a"].alias("a"),
            ours["b"].alias("b"),
            theirs["a"].alias("c"),
            theirs["b"].alias("d"),
        ),
    )
    return sums.join(of_reference, [*rest, "user_id"], how="inner").select(*by, "user_id", F.inline(both))


def estimates(sums: DataFrame, by: Sequence[str], reference: str) -> DataFrame:
    """`by`, estimator, impressions, users, value, low, high, difference, difference_low, difference_high,
    effective_size and refused, from `user_sums`. Differences are to the policy `reference`.

    The variance of a ratio, clustered by user (Liang and Zeger, 1986): with A_u and B_u the sums of user u and U users,

        var V = U / (U − 1) · Σ_u (A_u − V B_u)² / (Σ_u B_u)²

    and for a paired difference the term is (A_u − V B_u) / Σ B − (C_u − W D_u) / Σ D. Intervals use Student's t with
    U − 1 degrees of freedom. A value that the diagnostics refuse is null, and so is a difference with a refused side.
    """
    products = [f"{one}{two}" for i, one in enumerate(_TERMS) for two in _TERMS[i:]]
    totals = (
        paired(sums, by, reference)
        .groupBy(*by, "estimator")
        .agg(
            *(F.sum(name).alias(name) for name in _TERMS),
            *(F.sum(F.col(name[0]) * F.col(name[1])).alias(name) for name in products),
        )
    )
    checked = with_reference(refusals(sums, by), by, reference)
    kept = F.col("refused").isNull() | (F.col("estimator") == truth.__name__)
    compared = kept & (F.col("reference_refused").isNull() | (F.col("estimator") == truth.__name__))
    half = _student(F.col("users") - 1) * F.sqrt(F.col("users") / F.nullif(F.col("users") - 1, F.lit(0)))
    return (
        totals.join(checked, list(by), how="inner")
        .withColumns({"v": _ratio("a", "b"), "w": _ratio("c", "d")})
        .withColumns({"half": half * F.sqrt(_spread()), "difference_half": half * F.sqrt(_paired_spread())})
        .select(
            *by,
            "estimator",
            "impressions",
            "users",
            *_interval(kept, F.col("v"), F.col("half"), ("value", "low", "high")),
            *_interval(
                compared,
                F.col("v") - F.col("w"),
                F.col("difference_half"),
                ("difference", "difference_low", "difference_high"),
            ),
            "effective_size",
            F.when(~kept, F.col("refused")).alias("refused"),
        )
    )


def with_reference(checked: DataFrame, by: Sequence[str], reference: str) -> DataFrame:
    """`refusals` with reference_refused: why the log cannot support an estimate of the reference."""
    rest = [name for name in by if name != "policy"]
    of_reference = checked.where(F.col("policy") == reference).select(
        *rest, F.col("refused").alias("reference_refused")
    )
    if rest:
        return checked.join(F.broadcast(of_reference), rest, how="left")
    return checked.crossJoin(F.broadcast(of_reference))


def _interval(kept: Column, middle: Column, half: Column, names: tuple[str, str, str]) -> list[Column]:
    columns = (middle, middle - half, middle + half)
    return [F.when(kept, column).alias(name) for name, column in zip(names, columns, strict=True)]


def _ratio(numerator: str, denominator: str) -> Column:
    return F.col(numerator) / F.nullif(F.col(denominator), F.lit(0.0))


def _spread() -> Column:
    """Σ (A − V B)² / (Σ B)². Rounding can make a sum of squares that is 0 negative."""
    squares = F.col("aa") - 2 * F.col("v") * F.col("ab") + F.col("v") * F.col("v") * F.col("bb")
    return F.greatest(squares, F.lit(0.0)) / F.nullif(F.col("b") * F.col("b"), F.lit(0.0))


def _paired_spread() -> Column:
    """Σ [(A − V B) / ΣB − (C − W D) / ΣD]²."""
    v, w = F.col("v"), F.col("w")
    ours = F.col("aa") - 2 * v * F.col("ab") + v * v * F.col("bb")
    theirs = F.col("cc") - 2 * w * F.col("cd") + w * w * F.col("dd")
    both = F.col("ac") - w * F.col("ad") - v * F.col("bc") + v * w * F.col("bd")
    b, d = F.nullif(F.col("b"), F.lit(0.0)), F.nullif(F.col("d"), F.lit(0.0))
    return F.greatest(ours / b / b + theirs / d / d - 2 * both / b / d, F.lit(0.0))


def _student(freedom: Column) -> Column:
    """The 97.5 % point of Student's t: Abramowitz and Stegun 26.7.5, to a thousandth from 5 degrees of freedom."""
    one = (_Z**3 + _Z) / 4
    two = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    degrees = F.nullif(freedom.cast("double"), F.lit(0.0))
    return F.lit(_Z) + one / degrees + two / degrees / degrees
