"""Pairs scored in several rotations: which ones, when, and the mean of the answers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.bucket_scorer import BucketScorer
from inference.checkpoint import Checkpoint
from inference.engine import Answer, Engine, Prompt, Refusal
from inference.held_out import score_held_out
from inference.job import ScoringJob
from inference.prior import LabelPrior
from inference.progress import ScoringProgress
from inference.questions import Choice, Choices, Question, Rejected, questions
from inference.results import Bucket, Results, softmax
from inference.rotations import is_close, mean_logprobs, spread
from inference.score import score_shard
from inference.tokens import Tokens
from schemas.tables import (
    ARTWORK_SCORES,
    HELD_OUT_RUNS,
    HELD_OUT_SCORES,
    POST_TRAINING_STEPS,
    REJECTED_ROWS,
    SCORING_RUNS,
)
from tests.inference_data import (
    DS,
    choice,
    choice_row,
    context,
    context_row,
    make_night,
    make_questions,
    running,
    settings_for,
    stored,
)

LOGPROBS = st.lists(st.floats(-50, 0), min_size=2, max_size=8)


def named(logprobs: list[float], turn: int = 0) -> tuple[list[str], list[float]]:
    """Artworks a0, a1, … with their log-probabilities, rotated by `turn` places."""
    ids = [f"a{number}" for number in range(len(logprobs))]
    return ids[turn:] + ids[:turn], logprobs[turn:] + logprobs[:turn]


def test_rotations_are_spread_around_the_circle() -> None:
    assert spread(0, 4, 0) == [0]
    assert spread(3, 4, 1) == [3, 1]
    assert spread(1, 4, 3) == [1, 2, 3, 0]
    assert spread(0, 3, 39) == [0, 1, 2]
    assert spread(7, 40, 3) == [7, 17, 27, 37]
    assert spread(0, 1, 3) == [0]


@given(st.integers(1, 40), st.integers(0, 45), st.data())
def test_no_rotation_is_scored_twice(rotations: int, further: int, data: st.DataObject) -> None:
    own = data.draw(st.integers(0, rotations - 1))
    found = spread(own, rotations, further)
    assert found[0] == own
    assert len(set(found)) == len(found) == min(rotations, further + 1)
    assert set(found) <= set(range(rotations))


def test_a_pair_is_close_by_its_two_largest_probabilities() -> None:
    assert is_close([0.1, 0.42, 0.48], 0.1)
    assert not is_close([0.1, 0.3, 0.6], 0.1)
    assert is_close([0.5, 0.5], 0)
    assert not is_close([0.51, 0.49], 0)
    # With 1 every pair is close, even a certain one, except a pair with a single artwork.
    assert is_close([1.0, 0.0], 1)
    assert not is_close([1.0], 1)


@given(LOGPROBS, st.integers(1, 5))
def test_the_mean_of_equal_answers_is_each_of_them(logprobs: list[float], count: int) -> None:
    assert mean_logprobs([named(logprobs)] * count) == pytest.approx(logprobs, abs=1e-12)


def test_a_single_answer_keeps_its_bits() -> None:
    assert mean_logprobs([(["a", "b"], [-0.1, -2.3])]) == [-0.1, -2.3]


@given(st.lists(LOGPROBS.filter(lambda each: len(each) >= 3).map(lambda each: each[:3]), min_size=2), st.data())
def test_the_mean_does_not_depend_on_the_sequence_of_rotations(values: list[list[float]], data: st.DataObject) -> None:
    answers = [named(logprobs, turn % 3) for turn, logprobs in enumerate(values)]
    shuffled = [answers[0], *data.draw(st.permutations(answers[1:]))]
    assert mean_logprobs(answers) == mean_logprobs(shuffled)
    by_artwork = dict(zip(answers[-1][0], mean_logprobs(answers[::-1]), strict=True))
    assert mean_logprobs(answers) == [by_artwork[artwork] for artwork in answers[0][0]]


@given(st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0)), min_size=2, max_size=6))
def test_a_preference_for_numbers_cancels_over_all_rotations(both: list[tuple[float, float]]) -> None:
    content, preference = [list(side) for side in zip(*both, strict=True)]
    answers = []
    for turn in range(len(content)):
        ids, turned = named(content, turn)
        answers.append((ids, [own + number for own, number in zip(turned, preference, strict=True)]))
    assert softmax(mean_logprobs(answers)) == pytest.approx(softmax(content), abs=1e-9)


def question(title: str, rotations: int) -> Question:
    """Three artworks in the first `rotations` rotations; the first token of a choice is its rotation."""
    turns = [Choice(named([0.0] * 3, turn)[0], array("i", [turn, 9])) for turn in range(rotations)]
    return Question({"user_id": "u", "title_id": title}, 0, [7, 7, 7], turns, shortened=False)


class OneByOne:
    """Answers each question, by its rotation, before it takes the next one; `seen` are (title, rotation)."""

    def __init__(self, *answers: Answer | Refusal) -> None:
        self.answers_by_turn, self.seen = answers, list[tuple[str, int]]()

    def answers(self, prompts: Iterable[Prompt[Any]]) -> Iterator[tuple[Any, Answer | Refusal]]:
        for prompt in prompts:
            turn = prompt.ids[3]
            self.seen.append((prompt.key[0].pair["title_id"], turn))
            yield prompt.key, self.answers_by_turn[turn]


def results(pairs: int, margin: float) -> Results:
    return Results(ScoringJob("nowhere", DS), Bucket(0, pairs, "f"), "model@1", LabelPrior({}), margin)


def answer(*probabilities: float, cached: int = 0) -> Answer:
    return Answer([math.log(each) for each in probabilities], cached)


def scored(engine: Any, pairs: list[Question | Rejected], found: Results) -> list[dict[str, Any]]:
    rows = list(BucketScorer(iter(pairs), found, ScoringProgress(len(pairs))).scores(engine))
    found.end()
    return rows


def test_a_close_pairs_rotations_overtake_new_questions() -> None:
    engine = OneByOne(answer(0.3, 0.32, 0.02), answer(0.2, 0.1, 0.1, cached=2), answer(0.2, 0.2, 0.4))
    found = results(3, 0.1)
    rows = scored(engine, [question("one", 3), question("two", 1), Rejected({}, "rule")], found)
    assert engine.seen == [("one", 0), ("one", 1), ("one", 2), ("two", 0)]
    assert [row["title_id"] for row in rows] == ["one", "two"]
    assert [row["artwork_ids"] for row in rows] == [["a0", "a1", "a2"]] * 2
    # a0 is 0.3, then the third number of 1-2-0 and the second of 2-0-1; a1 and a2 likewise.
    products = [0.3 * 0.1 * 0.2, 0.32 * 0.2 * 0.4, 0.02 * 0.1 * 0.2]
    roots = [product ** (1 / 3) for product in products]
    assert rows[0]["probabilities"] == pytest.approx([root / sum(roots) for root in roots])
    counts = {"pairs": 2, "rejected": 1, "shortened": 0, "asked_again": 1, "prompt_tokens": 20, "cached_tokens": 2}
    assert found.counts == counts
    # The pair scored in three rotations counts once, with the mean of its answers.
    assert found.label_mass == pytest.approx((0.64 + 0.4 + 0.8) / 3 + 0.64)


def test_a_pair_that_is_not_close_is_scored_once() -> None:
    engine = OneByOne(answer(0.6, 0.2, 0.2))
    found = results(1, 0.1)
    (row,) = scored(engine, [question("one", 3)], found)
    assert engine.seen == [("one", 0)]
    assert found.asked_again == 0
    assert row["probabilities"] == pytest.approx([0.6, 0.2, 0.2])


def test_the_prior_is_subtracted_before_a_pair_counts_as_close() -> None:
    engine = OneByOne(answer(0.6, 0.3, 0.1), answer(0.6, 0.3, 0.1))
    found = results(1, 0.1)
    found.prior = LabelPrior({3: [math.log(2), 0.0, 0.0]})
    scored(engine, [question("one", 2)], found)
    assert found.asked_again == 1


@pytest.mark.parametrize(
    ("bad", "rule"),
    [(Refusal("no"), "engine_refused"), (Answer([math.nan, -1.0, -1.0], 0), "probabilities_not_finite")],
)
def test_a_pair_with_an_unanswered_rotation_is_rejected_once(bad: Answer | Refusal, rule: str) -> None:
    engine = OneByOne(answer(0.3, 0.3, 0.3), bad, answer(0.3, 0.3, 0.3))
    found = results(2, 1)
    rows = scored(engine, [question("one", 3), question("two", 1)], found)
    assert [row["title_id"] for row in rows] == ["two"]
    assert [rejected.rule for rejected in found.rejected] == [rule]
    assert engine.seen == [("one", 0), ("one", 1), ("two", 0)]


def test_all_rotations_of_a_pair_come_after_the_same_context(random_checkpoint: Checkpoint) -> None:
    tokens = Tokens(random_checkpoint)
    rows = [choice_row("two", 2, 0), choice_row("two", 2, 1)]
    # The other rotation exceeds the limit, so the pair's own loses history too.
    rows[1]["choice"] = choice("a longer name", 2)
    text = context("drama", *(f"Film {number}" for number in range(20)))
    limit = len(tokens.context(text).ids) + len(tokens.ids(rows[0]["choice"]))
    contexts = [context_row("u", 0, text, ["two"])]
    ((alone,),) = questions(contexts, Choices(rows, tokens), tokens, limit)
    ((both,),) = questions(contexts, Choices(rows, tokens), tokens, limit, further=3)
    assert isinstance(alone, Question)
    assert isinstance(both, Question)
    assert (alone.shortened, len(alone.rotations)) == (False, 1)
    assert (both.shortened, len(both.rotations)) == (True, 2)
    assert [each.artwork_ids for each in both.rotations] == [["two-a0", "two-a1"], ["two-a1", "two-a0"]]
    assert max(both.tokens(0), both.tokens(1)) <= limit
    assert [len(both.prompt_in(rotation)) for rotation in (0, 1)] == [both.tokens(0), both.tokens(1)]


TITLES = {"two": 2, "five": 5}


@pytest.fixture
def night(tmp_path: Path, random_checkpoint: Checkpoint) -> Path:
    """Six users in two buckets with two pairs each; a choice has up to three rotations."""
    users = [
        context_row(f"user {number}", number % 2, context("drama", *(f"Film {n}" for n in range(10))), TITLES)
        for number in range(6)
    ]
    rows = [choice_row(title, options, turn) for title, options in TITLES.items() for turn in range(min(options, 3))]
    make_night(tmp_path / "warehouse", random_checkpoint, users, rows)
    return tmp_path / "warehouse"


@pytest.fixture
def score_night(night: Path, engine: Engine) -> Any:
    start = running(engine)
    return lambda **values: score_shard(ScoringJob(str(night), DS), settings_for(night, **values), start=start)


def scores(night: Path) -> list[dict[str, Any]]:
    return stored(night, ARTWORK_SCORES, "user_id", "title_id")


def test_a_night_with_rotations_averaged(
    night: Path, score_night: Any, engine: Engine, random_checkpoint: Checkpoint
) -> None:
    plain = score_night()
    assert plain["asked_again"] == 0
    before = scores(night)
    averaged = score_night(further_orders=2, close_margin=1)
    assert (averaged["buckets_skipped"], averaged["pairs"], averaged["asked_again"]) == (0, 12, 12)
    tokens = Tokens(random_checkpoint)
    text = tokens.context(context("drama", *(f"Film {n}" for n in range(10)))).ids
    for row, once in zip(scores(night), before, strict=True):
        title = row["title_id"]
        turned = [choice_row(title, TITLES[title], turn) for turn in range(min(TITLES[title], 3))]
        prompts = [Prompt(each["ordering"], text + tokens.ids(each["choice"]), TITLES[title]) for each in turned]
        given = dict(engine.answers(prompts))
        answers = [(each["artwork_ids"], given[each["ordering"]].logprobs) for each in turned]
        assert row["probabilities"] == pytest.approx(softmax(mean_logprobs(answers)), abs=1e-5)
        assert row["probabilities"] != pytest.approx(once["probabilities"], abs=1e-4)
        assert {key: row[key] for key in row if key != "probabilities"} == {
            key: once[key] for key in once if key != "probabilities"
        }
    # A further rotation finds its context in the cache: for 6 users, 1 of "two" and 2 of "five".
    further = 6 * 3 * (len(text) // 32 * 32)
    assert averaged["cached_tokens"] - plain["cached_tokens"] >= further > 0
    assert [run["asked_again"] for run in stored(night, SCORING_RUNS, "bucket")] == [6, 6]
    assert stored(night, REJECTED_ROWS) == []


def test_a_bucket_is_done_only_for_the_rotations_it_was_scored_in(night: Path, score_night: Any) -> None:
    score_night(further_orders=2, close_margin=1)
    before = scores(night)
    assert score_night(further_orders=2, close_margin=1)["buckets_skipped"] == 2
    assert score_night(further_orders=2, close_margin=0.5)["buckets_skipped"] == 0
    assert score_night(further_orders=2, close_margin=1)["buckets_skipped"] == 0
    assert scores(night) == before
    # Without further rotations the margin does not matter.
    score_night()
    assert score_night(close_margin=0.7)["buckets_skipped"] == 2


def test_held_out_questions_in_several_rotations_have_a_name_of_their_own(
    tmp_path: Path, random_checkpoint: Checkpoint, engine: Engine
) -> None:
    start = running(engine)
    config = settings_for(tmp_path)
    choices = [choice_row("two", 2, 0), choice_row("two", 2, 1)]
    users = [context_row("user", 0, context("drama"), ["two"])]
    make_questions(tmp_path, users, choices)
    score_held_out(DS, random_checkpoint, config, start=start)
    score_held_out(DS, random_checkpoint, config, rotations=4, start=start)
    version = random_checkpoint.version
    once, both = stored(tmp_path, HELD_OUT_SCORES, "model_version")
    assert (once["model_version"], both["model_version"]) == (version, f"{version}+orders4")
    assert once["probabilities"] != both["probabilities"]
    same = ("context_key", "choice_key", "artwork_ids", "prompt_hash")
    assert {name: once[name] for name in same} == {name: both[name] for name in same}
    assert (once["context_key"], once["choice_key"]) == ("user", "two")
    runs = [
        (run["model_version"], run["pairs"], run["asked_again"])
        for run in stored(tmp_path, HELD_OUT_RUNS, "model_version")
    ]
    assert runs == [(version, 1, 0), (f"{version}+orders4", 1, 1)]
    assert [row["step"] for row in stored(tmp_path, POST_TRAINING_STEPS, "step")] == [
        f"score_held_out {version}",
        f"score_held_out {version}+orders4",
    ]
