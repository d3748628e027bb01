"""What further orders cost and gain, worked out from scores of one order and of all."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.orders import Question, compared, costs, gain, main
from examples.truth import Truth, write_truth
from inference.orders import averaged
from schemas.exit_codes import REFUSED
from schemas.tables import ARTWORK_SCORES, POST_TRAINING_EXAMPLES, SCORING_RUNS
from tests.inference_data import DS, append

ASKED = [
    Question(apart=0.0, orders=2, by_one="a", by_all="b"),
    Question(apart=0.08, orders=4, by_one="a", by_all="a"),
    Question(apart=0.3, orders=4, by_one="a", by_all="c"),
    Question(apart=1.0, orders=3, by_one="a", by_all="b"),
]


def truth() -> Truth:
    """User u likes b most and then a; v likes c."""
    themes = np.eye(18)[:3]
    tastes = np.zeros((2, 18))
    tastes[0, :3], tastes[1, :3] = (1, 2, -1), (0, 0, 3)
    rows = {name: row for row, name in enumerate("abc")}
    return Truth({"u": 0, "v": 1}, tastes, rows, themes, np.zeros(3), np.zeros(3))


@pytest.mark.parametrize(
    ("margin", "again", "prompts", "changed"),
    [(0, 0.25, 1.25, 0.25), (0.1, 0.5, 2.0, 0.25), (0.3, 0.75, 2.75, 0.5), (1, 1.0, 3.25, 0.75)],
)
def test_a_wider_margin_costs_more_prompts(margin: float, again: float, prompts: float, changed: float) -> None:
    found = costs(ASKED, margin)
    assert (found.asked_again, found.prompts, found.changed) == (again, prompts, changed)


def test_the_gain_is_what_the_truth_says_of_other_choices() -> None:
    known = truth()
    play = {name: float(known.play_probabilities("u", [name])[0]) for name in "abc"}
    impressions = [("u", each) for each in ASKED] + [("v", ASKED[1])]
    narrow = gain(impressions, known, 0.1)
    assert narrow.difference == pytest.approx((play["b"] - play["a"]) / 5)
    wide = gain(impressions, known, 1)
    assert wide.difference == pytest.approx((2 * (play["b"] - play["a"]) + play["c"] - play["a"]) / 5)
    assert wide.value - wide.difference == pytest.approx(narrow.value - narrow.difference)
    # Two users: each is as far from the mean as the other, on the other side.
    assert wide.error == pytest.approx(abs(wide.difference) / 5 * 2**0.5)


def score_row(user: str, title: str, probabilities: list[float], ids: str = "abc") -> dict[str, Any]:
    asked = {"user_id": user, "title_id": title, "artwork_ids": list(ids), "probabilities": probabilities}
    return {"ds": DS, "bucket": 0, **asked, "model_version": "m@1", "prompt_hash": 0}


def test_questions_scored_both_ways_with_a_choice_are_compared() -> None:
    once = {("u", "t"): score_row("u", "t", [0.4, 0.4, 0.2]), ("u", "gone"): score_row("u", "gone", [0.5, 0.3, 0.2])}
    once["u", "sole"] = score_row("u", "sole", [1.0], "a")
    in_all = {key: row for key, row in once.items() if key[1] != "gone"}
    in_all["u", "t"] = score_row("u", "t", [0.2, 0.5, 0.3], "cba")
    # Of equal artworks the first by id is chosen.
    assert compared(once, in_all, 4) == {("u", "t"): Question(0.0, 3, "a", "b")}


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    write_truth(truth(), tmp_path)
    example = {"ds": DS, "split": "held_out", "user_id": "u", "title_id": "t", "context_key": "u@1", "choice_key": "t"}
    shown = {"shown_at": datetime(2026, 1, 5, tzinfo=UTC), "shown": 1, "propensity": 0.5, "played": False}
    others = {
        "signals": [],
        "context": "",
        "choice": "",
        "artwork_ids": ["a", "b", "c"],
        "play_seconds": 0.0,
        "history_titles": 0,
    }
    append(tmp_path, POST_TRAINING_EXAMPLES, [{**example, **shown, **others}])
    run = {"ds": DS, "bucket": 0, "pairs": 1, "rejected": 0, "shortened": 0, "prompt_tokens": 100, "cached_tokens": 0}
    run |= {"seconds": 1.0, "model_version": "m@1", "input_fingerprint": "f", "asked_again": 0}
    for name, again, probabilities in (("m@1", 0, [0.41, 0.39, 0.2]), (averaged("m@1", 4), 1, [0.3, 0.6, 0.1])):
        folder = tmp_path / "post_training" / "scores" / name
        append(folder, ARTWORK_SCORES, [score_row("u@1", "t", probabilities)])
        append(folder, SCORING_RUNS, [{**run, "asked_again": again}])
    return tmp_path


def test_the_table_is_printed(warehouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--ds", str(DS), "--model", "m@1", "--orders", "4", "--warehouse", str(warehouse)]
    assert main([*asked, "--margins", "0", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert "m@1: 1 questions of 1 held-out impressions" in printed
    assert "| 0 | 0.0% | 1.00 | 0.0% |" in printed
    assert "| 0.1 | 100.0% | 3.00 | 100.0% |" in printed
    # From a to b, which u likes more: sigmoid(-0.55 + 2) less sigmoid(-0.55 + 1).
    assert "| +0.1994 ± " in printed


def test_scores_in_which_pairs_were_asked_again_are_no_scores_of_one_order(
    warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = warehouse / "post_training" / "scores"
    (scores / "m@1").rename(scores / averaged(averaged("m@1", 4), 4))
    asked = ["--ds", str(DS), "--model", averaged("m@1", 4), "--orders", "4", "--warehouse", str(warehouse)]
    assert main(asked) == REFUSED
    assert "pairs were asked again" in capsys.readouterr().err


def test_impressions_that_were_not_scored_both_ways_are_told(
    warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = warehouse / "post_training" / "scores" / averaged("m@1", 4) / ARTWORK_SCORES.name
    shutil.rmtree(scores)
    append(scores.parent, ARTWORK_SCORES, [score_row("u@1", "another", [0.3, 0.6, 0.1])])
    asked = ["--ds", str(DS), "--model", "m@1", "--orders", "4", "--warehouse", str(warehouse)]
    assert main(asked) == REFUSED
    assert "of 1 held-out impressions of ds=2026-01-05 none was scored both" in capsys.readouterr().err
