"""The estimators: against sums by hand and by numpy, and properties of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from evaluation.bootstrap import bootstrap, poisson
from evaluation.estimators import CLIP, ESTIMATORS, PROMISED, estimates, paired, user_sums
from evaluation.policies import LOGGING, greedy, policy_rows, uniform
from tests.evaluation_data import Impression, estimated, log_of, simulated, simulated_rows

NAMES = tuple(ESTIMATORS)
CASE = ("case", "policy")

Found = dict[tuple[str, str, str], Any]


@pytest.fixture(scope="module", autouse=True)
def _no_least_size() -> Iterator[None]:
    """Literal frames are small; refusals are tested in test_evaluation_diagnostics.py."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MIN_IMPRESSIONS", "MIN_USERS", "MIN_EFFECTIVE"):
            patch.setattr(f"evaluation.diagnostics.{name}", 0)
        patch.setattr("evaluation.diagnostics._off", lambda _: F.lit(False))
        patch.setattr("evaluation.diagnostics.MAX_TAIL_SHARE", 2.0)
        yield


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """Simulated logs, with the column `case`."""
    logs = {size: simulated(spark, size) for size in (500, 2000, 4000)}
    ones = {"reward": F.lit(1.0), "q": F.transform("q", lambda _: F.lit(1.0))}
    cases = {
        "small": simulated_rows(logs[500]),
        "plain": simulated_rows(logs[2000]),
        "large": simulated_rows(logs[4000]),
        "ones": simulated_rows(logs[2000], **ones),
        "constant": simulated_rows(logs[500], reward=F.lit(0.3)),
        "copies": simulated_rows(logs[500]).crossJoin(spark.range(10).select()),
    }
    parts = [part.withColumn("case", F.lit(name)) for name, part in cases.items()]
    return reduce(DataFrame.unionByName, parts).localCheckpoint()


@pytest.fixture(scope="module")
def sums(rows: DataFrame) -> DataFrame:
    return user_sums(rows, CASE).localCheckpoint()


@pytest.fixture(scope="module")
def found(sums: DataFrame) -> Found:
    """Estimates by case, policy and estimator."""
    return {(row["case"], row["policy"], row["estimator"]): row for row in estimates(sums, CASE, "popular").collect()}


def widths(found: Found, case: str) -> dict[str, float]:
    return {name: found[case, "personal", name]["high"] - found[case, "personal", name]["low"] for name in NAMES}


def test_the_formulas(spark: SparkSession) -> None:
    """Two artworks, the policy shows the first; w = 2, 0, 20, 0.5 · 1/0.5 = 1."""
    log = log_of(
        spark,
        [
            ("u1", [1.0, 0.0], 1, 0.5, 1.0),
            ("u1", [1.0, 0.0], 2, 0.5, 1.0),
            ("u2", [1.0, 0.0], 1, 0.05, 1.0),
            ("u3", [0.5, 0.5], 2, 0.5, 0.0),
        ],
    )
    found = estimated(policy_rows(log, {"policy": "target"}), LOGGING)
    values = {name: found["policy", name]["value"] for name in NAMES}
    corrections = np.array([2 * 0.5, 0.0, 20 * 0.5, 1 * -0.5])
    assert values == pytest.approx(
        {
            "replay": (1 + 1) / 2.5,
            "ips": (2 + 20) / 4,
            "clipped_ips": (2 + CLIP) / 4,
            "snips": 22 / 23,
            "dm": 0.5,
            "dr": 0.5 + corrections.sum() / 4,
            "switch_dr": 0.5 + (corrections.sum() - 10) / 4,
        }
    )
    assert found["policy", "ips"]["effective_size"] == pytest.approx(23**2 / (4 + 400 + 1))
    assert (found["policy", "ips"]["impressions"], found["policy", "ips"]["users"]) == (4, 3)


def test_the_logging_policy_gets_the_mean_of_its_log(rows: DataFrame, found: Found) -> None:
    mean = rows.where("case = 'plain' and policy = 'logging'").agg(F.avg("reward")).collect()[0][0]
    exact = [name for name in NAMES if name != "dm"]
    assert [found["plain", LOGGING, name]["value"] for name in exact] == pytest.approx([mean] * len(exact))


def test_a_target_that_is_the_logging_policy_gets_the_mean_too(spark: SparkSession) -> None:
    log = log_of(
        spark, [(f"u{n % 7}", [0.25, 0.75], 1 + n % 2, (0.25, 0.75)[n % 2], float(n % 3 == 0)) for n in range(60)]
    )
    found = estimated(policy_rows(log, {"policy": "target"}), LOGGING)
    assert [found["policy", name]["value"] for name in ("ips", "snips", "dr")] == pytest.approx([20 / 60] * 3)
    assert found["policy", "ips"]["difference"] == pytest.approx(0, abs=1e-12)


def test_rewards_of_one_give_one(found: Found) -> None:
    exact = [name for name in NAMES if name not in ("ips", "clipped_ips")]
    assert [found["ones", "personal", name]["value"] for name in exact] == pytest.approx([1.0] * len(exact))
    row = found["ones", "personal", "ips"]
    assert row["low"] < 1 < row["high"]


def test_a_constant_reward_has_no_width(found: Found, sums: DataFrame) -> None:
    """Both sums of a ratio are computed anew; with a fixed denominator the interval would have a width."""
    row = found["constant", "personal", "snips"]
    assert (row["low"], row["high"]) == pytest.approx((0.3, 0.3), abs=1e-6)
    again = bootstrap(paired(sums, CASE, "popular").where("case = 'constant' and policy = 'personal'"), CASE, 20)
    row = again.where("estimator = 'snips'").collect()[0]
    assert (row["low"], row["high"]) == pytest.approx((0.3, 0.3))


def test_a_policy_differs_from_itself_by_nothing(found: Found) -> None:
    for name in NAMES:
        row = found["small", "popular", name]
        assert (row["difference"], row["difference_low"], row["difference_high"]) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_paired_difference_is_narrower_than_two_intervals(found: Found) -> None:
    for name in PROMISED:
        ours, theirs = found["plain", "personal", name], found["plain", "popular", name]
        apart = np.hypot(ours["high"] - ours["low"], theirs["high"] - theirs["low"])
        assert ours["difference"] == pytest.approx(ours["value"] - theirs["value"])
        assert ours["difference_high"] - ours["difference_low"] < 0.95 * apart


def test_more_rows_are_tighter(found: Found) -> None:
    few, many = widths(found, "small"), widths(found, "large")
    assert all(many[name] < 0.6 * few[name] for name in NAMES)


def test_rows_repeated_within_users_are_not_tighter(found: Found) -> None:
    """Ten copies of each impression add no information; only other users would."""
    assert widths(found, "copies") == pytest.approx(widths(found, "small"))


def test_merged_parts_equal_one_pass(rows: DataFrame, found: Found) -> None:
    """A group's estimate from sums of two parts of its users equals that from one pass with all groups."""
    small = rows.where("case = 'small'").persist()
    first = F.pmod(F.xxhash64("user_id"), F.lit(2)) == 0
    parts = [user_sums(small.where(part), CASE) for part in (first, ~first)]
    # The tail of the weights is the only part that is not a sum.
    for row in estimates(parts[0].unionByName(parts[1]), CASE, "popular").collect():
        expected = found["small", row["policy"], row["estimator"]]
        for column in ("value", "low", "high", "difference_low", "effective_size"):
            assert row[column] == pytest.approx(expected[column]), column


def a_log() -> st.SearchStrategy[list[Impression]]:
    def impression(user: int, best: int, shown: int, propensity: float, played: bool) -> Impression:
        return (f"u{user}", [float(place == best) for place in range(3)], shown, propensity, float(played))

    one = st.builds(
        impression, st.integers(0, 4), st.integers(0, 2), st.integers(1, 3), st.floats(0.05, 0.99), st.booleans()
    )
    return st.lists(one, min_size=1, max_size=30)


# Many logs per example, with a grouping column, because each Spark query takes seconds.
@settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(logs=st.lists(a_log(), min_size=20, max_size=20))
def test_ips_and_its_interval_are_those_of_numpy(spark: SparkSession, logs: list[list[Impression]]) -> None:
    parts = [log_of(spark, rows).withColumn("log", F.lit(number)) for number, rows in enumerate(logs)]
    log = reduce(DataFrame.unionByName, parts).localCheckpoint()
    by = ("log", "policy")
    sums = user_sums(policy_rows(log, {"policy": "target"}, "log"), by).persist()
    found = estimates(sums, by, LOGGING).where("policy = 'policy' and estimator = 'ips'").collect()
    assert len(found) == len(logs)
    for row in found:
        value, half = numpy_ips(logs[row["log"]])
        assert row["value"] == pytest.approx(value)
        assert row["high"] == (None if half is None else pytest.approx(value + half, abs=1e-4))


def numpy_ips(rows: list[Impression]) -> tuple[float, float | None]:
    """IPS and half its interval, with users' deviations summed one by one; None for a single user."""
    users = np.array([row[0] for row in rows])
    weighted = np.array([target[shown - 1] / p * reward for _, target, shown, p, reward in rows])
    value = float(weighted.mean())
    totals = np.array([(weighted - value)[users == user].sum() for user in np.unique(users)])
    freedom = len(totals) - 1
    if freedom == 0:
        return value, None
    z = 1.959964
    student = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    error = np.sqrt(len(totals) / freedom * (totals**2).sum()) / len(rows)
    return value, float(student * error)


def test_the_bootstrap_agrees_with_the_formula(found: Found, sums: DataFrame) -> None:
    for row in bootstrap(paired(sums, CASE, "popular").where("case = 'plain' and policy = 'personal'"), CASE).collect():
        expected = found["plain", "personal", row["estimator"]]
        for of, low, high in (("value", "low", "high"), ("difference", "difference_low", "difference_high")):
            # 200 replicates measure a width to about a tenth.
            assert row[high] - row[low] == pytest.approx(expected[high] - expected[low], rel=0.3)
            assert row[low] < expected[of] < row[high]


def test_users_are_drawn_once_on_average(spark: SparkSession) -> None:
    drawn = spark.range(20_000).select(poisson((F.col("id") + 0.5) / 20_000).alias("times"))
    mean, variance = drawn.agg(F.avg("times"), F.var_pop("times")).collect()[0]
    assert (mean, variance) == pytest.approx((1, 1), abs=0.01)


def chosen(spark: SparkSession, scores: list[float]) -> list[float]:
    frame = spark.createDataFrame([(["b", "a", "c"], scores)], "artwork_ids array<string>, scores array<double>")
    target: list[float] = frame.select(greedy(F.col("scores"))).collect()[0][0]
    return target


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.2, 0.3, 0.5], [0.0, 0.0, 1.0]), ([0.4, 0.4, 0.2], [0.0, 1.0, 0.0]), ([0.0, 0.0, 0.0], [0.0, 1.0, 0.0])],
    ids=["the largest", "ties by id", "nothing known"],
)
def test_greedy_shows_one_artwork(spark: SparkSession, scores: list[float], expected: list[float]) -> None:
    assert chosen(spark, scores) == expected


def test_uniform_adds_up(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(["b", "a", "c", "d"],)], "artwork_ids array<string>")
    assert frame.select(uniform()).collect()[0][0] == [0.25] * 4
