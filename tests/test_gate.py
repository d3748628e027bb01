"""What a candidate must show to become champion."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evaluation.gate import verdict
from schemas.settings import Settings

SETTINGS = Settings(gate_margin=0.01, gate_slices=("artworks",), gate_slice_limit=0.02)


def estimate(difference: float = 0.03, half_width: float = 0.01, **changes: Any) -> dict[str, Any]:
    return {
        "policy": "new@1",
        "slice_by": "all",
        "slice": "all",
        "estimator": "dr",
        "difference": difference,
        "difference_low": difference - half_width,
        "difference_high": difference + half_width,
        "refused": None,
        **changes,
    }


def test_a_candidate_whose_interval_clears_the_margin_is_promoted() -> None:
    found = verdict([estimate()], "new@1", SETTINGS)
    assert found.promoted
    assert str(found) == "promoted: +0.0300 plays an impression against the champion (+0.0200 to +0.0400, dr)"


def test_an_interval_that_reaches_the_margin_is_refused_and_says_so() -> None:
    found = verdict([estimate(0.015)], "new@1", SETTINGS)
    assert not found.promoted
    assert "does not clear the margin of +0.0100" in str(found)


def test_a_fall_in_a_named_slice_is_refused_and_in_another_not() -> None:
    falls = estimate(-0.03, slice_by="artworks", slice="13-40")
    found = verdict([estimate(), falls], "new@1", SETTINGS)
    assert not found.promoted
    assert "artworks = 13-40" in str(found)
    assert verdict([estimate(), {**falls, "slice_by": "popularity"}], "new@1", SETTINGS).promoted
    assert verdict([estimate(), {**falls, "difference": -0.02}], "new@1", SETTINGS).promoted


def test_a_slice_that_the_log_cannot_judge_decides_nothing() -> None:
    unknown = {**estimate(slice_by="artworks", refused="10 rows"), "difference": None, "difference_low": None}
    assert verdict([estimate(), unknown], "new@1", SETTINGS).promoted


def test_without_an_answer_nobody_is_promoted() -> None:
    refused = estimate(difference_low=None, refused="effective size 2")
    assert str(verdict([refused], "new@1", SETTINGS)) == "refused: the log cannot support an answer: effective size 2"
    # A difference is null where either side is refused; the champion's reason is in the champion's row.
    against = verdict([estimate(difference=0.03) | {"difference": None, "difference_low": None}], "new@1", SETTINGS)
    assert str(against).startswith("refused: the log cannot support an answer about the champion")
    assert "no dr estimate of new@1" in str(verdict([estimate(policy="other")], "new@1", SETTINGS))
    assert not verdict([estimate(estimator="ips")], "new@1", SETTINGS).promoted


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_only_an_interval_wholly_above_the_margin_promotes(difference: float, half_width: float, margin: float) -> None:
    found = verdict([estimate(difference, half_width)], "new@1", Settings(gate_margin=margin))
    assert found.promoted == (difference - half_width > margin)
