"""What a candidate must show to become champion."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evaluation.gate import verdict
from schemas.settings import Settings

SETTINGS = Settings(gate_margin=0.01, gate_slices=("artworks",), gate_slice_limit=0.02)
ANY_SLICE = SETTINGS.model_copy(update={"gate_slices": ()})


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
    found = verdict([estimate()], "new@1", ANY_SLICE)
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
    assert verdict([estimate(), {**falls, "difference": -0.02}], "new@1", SETTINGS).promoted
    other = [{**falls, "slice_by": "popularity"}, estimate(slice_by="artworks", slice="2-3")]
    assert verdict([estimate(), *other], "new@1", SETTINGS).promoted


def test_a_slice_that_could_not_be_estimated_refuses() -> None:
    fine = estimate(slice_by="artworks", slice="2-3")
    unknown = {"difference": None, "difference_low": None, "slice_by": "artworks", "slice": "13-40"}
    refused = verdict([estimate(), fine, estimate() | unknown | {"refused": "There are 10 rows."}], "new@1", SETTINGS)
    assert not refused.promoted
    assert "cannot support an answer in the slice artworks = 13-40: There are 10 rows." in str(refused)
    for difference in (None, float("nan")):
        found = verdict([estimate(), fine, estimate() | unknown | {"difference": difference}], "new@1", SETTINGS)
        assert not found.promoted
        assert "The champion has no estimate there. Log more impressions, or take artworks out of" in str(found)


def test_a_slice_of_which_there_are_no_rows_refuses() -> None:
    found = verdict([estimate(), estimate(slice_by="history", slice="0")], "new@1", SETTINGS)
    assert not found.promoted
    assert "no estimate by the slice artworks, which MARQUEE_GATE_SLICES names" in str(found)


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
    found = verdict([estimate(difference, half_width)], "new@1", Settings(gate_margin=margin, gate_slices=()))
    assert found.promoted == (difference - half_width > margin)
