"""Logs that get no estimate, and the sentence that says why: one broken log per case, all estimated at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.estimators import ESTIMATORS, estimates, user_sums
from evaluation.policies import LOGGING
from tests.evaluation_data import one_hot, simulated, simulated_rows

type_change = Callable[[], dict[str, Column]]
Found = dict[tuple[str, str, str], Any]


def once(column: str, value: Column) -> dict[str, Column]:
    """`column` with another value in one impression."""
    return {column: F.when(F.col("impression") == 7, value).otherwise(F.col(column))}


def scaled(factor: float) -> dict[str, Column]:
    return {"propensity": F.least(F.col("propensity") * factor, F.lit(1.0))}


def favourite() -> dict[str, Column]:
    """A logging policy that always shows its favourite."""
    place = F.array_position("logged", F.array_max("logged")).cast("int")
    return {"shown": place, "propensity": F.lit(1.0)}


def never_shown() -> dict[str, Column]:
    """The log only has the first two artworks of each title, and the policy shows the last one."""
    first = F.when(F.col("shown") % 2 == 0, F.lit(1)).otherwise(F.lit(2))
    return {"shown": first, "propensity": F.lit(0.5), "personal": one_hot(F.size("artwork_ids"))}


# Each case: the number of impressions, and the changed columns.
CASES: dict[str, tuple[int, type_change]] = {
    "good": (3000, dict),
    "zero": (3000, lambda: once("propensity", F.lit(0.0))),
    "above one": (3000, lambda: once("propensity", F.lit(1.2))),
    "missing": (3000, lambda: once("propensity", F.lit(None).cast("double"))),
    "negative": (3000, lambda: once("propensity", F.lit(-0.1))),
    "number 0": (3000, lambda: once("shown", F.lit(0))),
    "number 99": (3000, lambda: once("shown", F.lit(99))),
    "no number": (3000, lambda: once("shown", F.lit(None).cast("int"))),
    "halved": (3000, lambda: scaled(0.5)),
    "raised": (3000, lambda: scaled(1.5)),
    "a millionth": (10_000, lambda: once("propensity", F.lit(1e-6)) | once("personal", one_hot(F.col("shown")))),
    "a millionth not wanted": (
        10_000,
        lambda: once("propensity", F.lit(1e-6)) | once("personal", one_hot(F.col("shown") % 2 + 1)),
    ),
    "never shown": (3000, never_shown),
    "a favourite": (3000, favourite),
    "ten rows": (10, dict),
    "bad reference": (3000, lambda: {"popular": F.transform("artwork_ids", lambda _: F.lit(0.0))}),
}


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> Found:
    """Estimates by case, policy and estimator."""
    logs = {size: simulated(spark, size) for size, _ in CASES.values()}
    parts = [
        simulated_rows(logs[size], **change()).withColumn("case", F.lit(name)) for name, (size, change) in CASES.items()
    ]
    sums = user_sums(reduce(DataFrame.unionByName, parts), ["case", "policy"]).persist()
    rows = estimates(sums, ["case", "policy"], "popular").collect()
    return {(row["case"], row["policy"], row["estimator"]): row for row in rows}


def refused(found: Found, case: str, policy: str = "personal") -> str:
    """The reason, the same for every estimator and without any number beside it."""
    rows = [found[case, policy, name] for name in ESTIMATORS]
    assert all(row["value"] is None and row["difference"] is None and row["low"] is None for row in rows)
    (reason,) = {row["refused"] for row in rows}
    return str(reason)


def test_a_good_log_is_not_refused(found: Found) -> None:
    rows = [row for (case, _, _), row in found.items() if case == "good"]
    assert len(rows) == 3 * len(ESTIMATORS)
    assert {row["refused"] for row in rows} == {None}
    assert all(row["value"] is not None and row["difference"] is not None for row in rows)


@pytest.mark.parametrize("case", ["zero", "above one", "missing", "negative"])
def test_a_propensity_that_is_no_probability(found: Found, case: str) -> None:
    reason = "1 of 3,000 impressions have a propensity that is missing, 0 or less, or above 1"
    assert reason in refused(found, case)
    # The log is broken for every policy.
    assert reason in refused(found, case, LOGGING)


@pytest.mark.parametrize("case", ["number 0", "number 99", "no number"])
def test_an_eligible_set_without_the_artwork_that_was_shown(found: Found, case: str) -> None:
    assert "1 of 3,000 impressions show an artwork that is not among the eligible ones" in refused(found, case)


@pytest.mark.parametrize(("case", "cause"), [("halved", "logged too small"), ("raised", "logged too large")])
def test_propensities_logged_wrongly_by_a_factor(found: Found, case: str, cause: str) -> None:
    """Snips would hide it, because both of its sums are wrong by the same factor."""
    reason = refused(found, case)
    assert "The policy's mean weight is" in reason
    assert cause in reason
    assert "The propensities do not add up: the mean weight of a uniform policy is" in reason
    # The mean of the log needs no propensities.
    assert found[case, LOGGING, "ips"]["value"] is not None


def test_one_row_of_a_millionth(found: Found) -> None:
    reason = refused(found, "a millionth")
    assert "The weights of 10,000 impressions amount to 1." in reason
    assert "The largest 1 % of the weights have 99 % of the total weight" in reason


def test_one_row_of_a_millionth_that_the_policy_would_not_show(found: Found) -> None:
    """Its weight is 0, but whether the propensities add up can no longer be checked."""
    reason = refused(found, "a millionth not wanted")
    assert reason.startswith("Whether the propensities add up cannot be checked: a few have nearly all the weight")


def test_a_policy_that_shows_artworks_that_the_log_never_shows(found: Found) -> None:
    assert "it shows artworks that the log never shows" in refused(found, "never shown")


def test_a_logger_that_always_shows_its_favourite(found: Found) -> None:
    reason = refused(found, "a favourite")
    assert "The log shows one artwork for certain in 100 % of the impressions" in reason
    assert "of the policy's choices have no probability there" in reason
    assert found["a favourite", LOGGING, "ips"]["value"] is not None


def test_ten_rows(found: Found) -> None:
    reason = refused(found, "ten rows")
    assert reason.startswith("There are 10 impressions of 2 users; an interval needs at least 100 of 30.")


def test_there_is_no_difference_to_a_refused_policy(found: Found) -> None:
    """Only the reference is refused; the candidate's own value remains."""
    row = found["bad reference", "personal", "dr"]
    assert row["value"] is not None
    assert row["refused"] is None
    assert row["difference"] is None
