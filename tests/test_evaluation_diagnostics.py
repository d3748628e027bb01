"""What no estimate is given for, and the sentence that says why."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.estimators import ESTIMATORS
from evaluation.policies import LOGGING, judged
from tests.evaluation_data import broken, estimated, one_row, simulated, simulated_rows

ROWS = 10_000


@pytest.fixture(scope="module")
def log(spark: SparkSession) -> DataFrame:
    return simulated(spark, ROWS)


def refused(found: dict[tuple[str, str], Any], policy: str = "personal") -> str:
    """The one reason that every estimator gives; no number with it."""
    rows = [found[policy, name] for name in ESTIMATORS]
    assert all(row["value"] is None and row["difference"] is None and row["low"] is None for row in rows)
    (reason,) = {row["refused"] for row in rows}
    return str(reason)


def test_a_good_log_is_not_refused(log: DataFrame) -> None:
    found = estimated(simulated_rows(log))
    assert {row["refused"] for row in found.values()} == {None}
    assert all(row["value"] is not None and row["difference"] is not None for row in found.values())


@pytest.mark.parametrize("propensity", [0.0, 1.2, None, -0.1], ids=["zero", "above one", "missing", "negative"])
def test_a_propensity_that_is_no_probability(log: DataFrame, propensity: float | None) -> None:
    value = F.lit(propensity).cast("double")
    changed = F.when(one_row(), value).otherwise(F.col("propensity"))
    found = estimated(simulated_rows(log, propensity=changed))
    assert "1 of 10,000 impressions have a propensity that is missing, 0 or less, or above 1" in refused(found)
    # The log is broken, whoever asks.
    assert "1 of 10,000" in refused(found, LOGGING)


@pytest.mark.parametrize("shown", [0, 99, None])
def test_an_eligible_set_without_the_artwork_that_was_shown(log: DataFrame, shown: int | None) -> None:
    changed = F.when(one_row(), F.lit(shown).cast("int")).otherwise(F.col("shown"))
    found = estimated(simulated_rows(log, shown=changed))
    assert "1 of 10,000 impressions show an artwork that is not among the eligible ones" in refused(found)


@pytest.mark.parametrize(("factor", "told"), [(0.5, "logged too small"), (1.5, "logged too large")])
def test_propensities_logged_wrongly_by_a_factor(log: DataFrame, factor: float, told: str) -> None:
    changed = F.least(F.col("propensity") * factor, F.lit(1.0))
    found = estimated(simulated_rows(log, propensity=changed))
    reason = refused(found)
    assert "mean weight" in reason
    assert told in reason
    assert "The propensities do not add up: the mean weight of a uniform policy is" in reason
    # Its value needs no propensities.
    assert found[LOGGING, "ips"]["value"] is not None


def test_snips_alone_would_hide_a_factor(log: DataFrame) -> None:
    """Both of its sums are off alike: only the mean weight shows it."""
    found = estimated(simulated_rows(log, propensity=F.col("propensity") / 3))
    assert found["personal", "snips"]["value"] is None


def test_one_row_of_a_millionth(log: DataFrame) -> None:
    tiny: Column = F.when(one_row(), F.lit(1e-6)).otherwise(F.col("propensity"))
    shows_it = {"personal": F.transform("artwork_ids", lambda _, place: (place == F.col("shown") - 1).cast("double"))}
    changed = {"propensity": tiny, "personal": F.when(one_row(), shows_it["personal"]).otherwise(F.col("personal"))}
    reason = refused(estimated(simulated_rows(log, **changed)))
    assert "The weights of 10,000 impressions amount to 1." in reason
    assert "The largest 1 % of the weights hold" in reason


def test_one_row_of_a_millionth_that_the_policy_would_not_show(log: DataFrame) -> None:
    """Its weight is 0, but whether the propensities add up can no longer be told."""
    other = F.transform(
        "artwork_ids", lambda _, place: (place == F.pmod("shown", F.size("artwork_ids"))).cast("double")
    )
    changed = {
        **broken(one_row(), 1e-6, "propensity"),
        "personal": F.when(one_row(), other).otherwise(F.col("personal")),
    }
    assert "Whether the propensities add up cannot be told" in refused(estimated(simulated_rows(log, **changed)))


def test_a_policy_that_shows_what_the_log_never_does(log: DataFrame) -> None:
    """The logging policy has no probability for the last artwork of a title, and the policy wants it."""
    last = F.transform("artwork_ids", lambda _, place: (place == F.size("artwork_ids") - 1).cast("double"))
    never = F.size("artwork_ids") - F.col("shown") > 0
    rows = judged(
        log.where(never)
        .withColumn("propensity", F.col("propensity") / (1 - F.element_at("logged", -1)))
        .withColumn("personal", last),
        {"personal": "personal"},
        LOGGING,
    )
    reason = refused(estimated(rows, LOGGING))
    assert "mean weight is 0.000 ± 0.000" in reason
    assert "it shows artworks that the log never does" in reason


def test_a_logger_that_always_shows_its_favourite(log: DataFrame) -> None:
    favourite = F.transform("logged", lambda each: (each == F.array_max("logged")).cast("double"))
    shown = F.array_position("logged", F.array_max("logged")).cast("int")
    found = estimated(simulated_rows(log, logged=favourite, shown=shown, propensity=F.lit(1.0)))
    reason = refused(found)
    assert "The log shows one artwork for certain in 100 % of the impressions" in reason
    assert "of what the policy shows has no probability there" in reason
    assert found[LOGGING, "ips"]["value"] is not None


def test_ten_rows(spark: SparkSession) -> None:
    found = estimated(simulated_rows(simulated(spark, 10)))
    reason = refused(found)
    assert reason.startswith("There are 10 impressions of 2 users; an interval needs at least 100 of 30.")


def test_a_difference_to_a_policy_that_is_refused_is_not_given(log: DataFrame) -> None:
    """Only the reference wants what has no support; the candidate's own value stands."""
    nothing = F.transform("artwork_ids", lambda _: F.lit(0.0))
    row = estimated(simulated_rows(log, popular=nothing))["personal", "dr"]
    assert row["value"] is not None
    assert row["refused"] is None
    assert row["difference"] is None
