"""What a candidate must show to become champion, and that its page says the same."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.gate import rule, verdict
from evaluation.page import Page, render
from schemas.contract import ContractError
from schemas.settings import Settings
from tests.page_text import page_text

SETTINGS = Settings(gate_margin=0.01, gate_slices=("artworks",), gate_slice_limit=0.02)
ANY_SLICE = SETTINGS.model_copy(update={"gate_slices": ()})


def estimate(difference: float = 0.03, half_width: float = 0.01, **changes: Any) -> dict[str, Any]:
    return {
        "policy": "new@1",
        "slice_by": "all",
        "slice": "all",
        "estimator": "dr",
        "impressions": 100,
        "users": 50,
        "value": 0.5 + difference,
        "low": 0.4 + difference,
        "high": 0.6 + difference,
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


def test_a_model_is_not_better_than_itself() -> None:
    rows = [estimate(0.0, 0.0), estimate(0.0, 0.0, slice_by="artworks", slice="2-3")]
    found = verdict(rows, "new@1", SETTINGS.model_copy(update={"gate_margin": 0.0}))
    assert str(found).startswith("refused: +0.0000 plays an impression against the champion")


def test_a_fall_in_a_named_slice_is_refused_and_in_another_not() -> None:
    falls = estimate(-0.03, slice_by="artworks", slice="13-40")
    found = verdict([estimate(), falls], "new@1", SETTINGS)
    assert not found.promoted
    assert "artworks = 13-40" in str(found)
    within = estimate(-0.02, slice_by="artworks", slice="13-40")
    assert verdict([estimate(), within], "new@1", SETTINGS).promoted
    other = [{**falls, "slice_by": "popularity"}, estimate(slice_by="artworks", slice="2-3")]
    assert verdict([estimate(), *other], "new@1", SETTINGS).promoted


def test_a_fall_that_may_be_chance_does_not_refuse_but_is_named() -> None:
    chance = estimate(-0.03, 0.04, slice_by="artworks", slice="13-40")
    found = verdict([estimate(), chance], "new@1", SETTINGS)
    assert found.promoted
    assert found.reasons[1:] == (
        "a loss of more than 0.02 is neither shown nor excluded in artworks = 13-40 (-0.0700 to +0.0100)",
    )
    gains = estimate(0.03, 0.04, slice_by="artworks", slice="13-40")
    assert len(verdict([estimate(), gains], "new@1", SETTINGS).reasons) == 1


def test_among_more_slices_a_loss_must_be_clearer() -> None:
    falls = estimate(-0.03, 0.025, slice_by="artworks", slice="13-40")
    others = [estimate(slice_by="artworks", slice=str(number)) for number in range(7)]
    assert not verdict([estimate(), falls], "new@1", SETTINGS).promoted
    # 2.73 instead of 1.96 standard errors for eight slices.
    assert verdict([estimate(), falls, *others], "new@1", SETTINGS).promoted


def test_slices_refuse_few_candidates_that_lose_nowhere_and_most_that_lose_much() -> None:
    rng = np.random.default_rng(1)

    def refused(difference: float) -> float:
        """The share of 1,000 logs that refuse a candidate with this true difference in one of eight slices."""
        errors = rng.uniform(0.01, 0.03, size=8)
        found = 0
        for _ in range(1_000):
            seen = rng.normal(np.array([difference, *[0.0] * 7]), errors)
            rows = [
                estimate(value, 1.96 * error, slice_by="artworks", slice=str(number))
                for number, (value, error) in enumerate(zip(seen, errors, strict=True))
            ]
            found += not verdict([estimate(), *rows], "new@1", SETTINGS).promoted
        return found / 1_000

    assert refused(0.0) < 0.04  # one side of 5 %, and two standard errors
    assert refused(-0.15) > 0.95


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


def test_reasons_are_sentences_and_the_rule_names_the_settings() -> None:
    unknown = estimate(slice_by="artworks", slice="2-3") | {"difference": None, "refused": "There are 10 rows."}
    found = verdict([estimate(0.0), unknown], "new@1", SETTINGS)
    assert [sentence[:30] for sentence in found.sentences()] == [
        "+0.0000 plays an impression ag",
        "The log cannot support an answ",
    ]
    assert all(sentence.endswith(".") and not sentence.endswith("..") for sentence in found.sentences())
    assert rule(SETTINGS).endswith(
        "by dr, is above +0.0100, and no slice by artworks is shown to lose: its difference is known, and not both "
        "under -0.0200 and clear of zero (95 % for all slices together)."
    )
    assert rule(ANY_SLICE).endswith("to the champion, by dr, is above +0.0100.")


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_only_an_interval_wholly_above_the_margin_promotes(difference: float, half_width: float, margin: float) -> None:
    found = verdict([estimate(difference, half_width)], "new@1", Settings(gate_margin=margin, gate_slices=()))
    assert found.promoted == (difference - half_width > margin)


# The champion's own row, as every run has one.
CHAMPION = estimate(0.0, 0.0, policy="old@1")
SLICE = {"slice_by": "artworks", "slice": "13-40"}
UNKNOWN = {"value": None, "difference": None, "difference_low": None, "refused": "Few users."}


def page_of(rows: list[dict[str, Any]], settings: Settings) -> Page:
    return Page(date(2026, 1, 14), "new@1", "old@1", settings, [*rows, CHAMPION], {}, {}, {})


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        ([estimate()], ANY_SLICE, "Promoted +0.0300 plays"),
        ([estimate(0.015)], ANY_SLICE, "+0.0250, dr): the interval does not clear the margin of +0.0100."),
        (
            [estimate(), estimate(-0.03) | SLICE],
            SETTINGS,
            "artworks = 13-40: it falls by more than the limit of 0.02.",
        ),
        ([estimate(), estimate(0.0) | SLICE], SETTINGS, "Promoted +0.0300 plays"),
        ([estimate(), estimate(0.0, 0.03) | SLICE], SETTINGS, "is neither shown nor excluded in artworks = 13-40"),
        ([estimate()], SETTINGS, "Refused There is no estimate by the slice artworks"),
        ([estimate() | UNKNOWN], SETTINGS, "Refused The log cannot support an answer: Few users."),
        ([estimate(-0.9, estimator="snips"), estimate()], ANY_SLICE, "Promoted +0.0300 plays"),
    ],
)
def test_the_page_prints_the_verdict_of_the_gate(rows: list[dict[str, Any]], settings: Settings, expected: str) -> None:
    page = page_of(rows, settings)
    found = verdict(page.rows, "new@1", settings)
    assert page.verdict == found
    text = page_text(render(page))
    assert expected in text
    assert " ".join([found.word.capitalize(), *found.sentences()]) in text
    assert rule(settings) in text
    difference = page.overall("new@1")["difference"]
    against = f"Against old@1: {difference or 0:+.4f} plays per impression ({200 * (difference or 0):+.1f} %)"
    assert (against in text) == (difference is not None)


def test_the_page_is_by_the_estimator_of_the_gate() -> None:
    by_snips = ANY_SLICE.model_copy(update={"gate_estimator": "snips"})
    page = page_of([estimate(-0.9), estimate(0.05, estimator="snips"), {**CHAMPION, "estimator": "snips"}], by_snips)
    text = page_text(render(page))
    assert "Promoted +0.0500 plays an impression against the champion (+0.0400 to +0.0600, snips)." in text
    assert "Against old@1: +0.0500 plays per impression (+10.0 %), 95 % interval +0.0400 to +0.0600, by snips." in text


def test_a_page_against_a_champion_without_an_estimate_is_refused() -> None:
    with pytest.raises(ContractError, match=r"has no snips of old@1 in the run of new@1; run `marquee evaluate`"):
        render(page_of([estimate(estimator="snips")], Settings(gate_estimator="snips")))
