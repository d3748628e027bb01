"""Pairs asked in several orders: which orders, when, and what is made of the answers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.asking import Asking
from inference.checkpoint import Checkpoint
from inference.engine import Answer, Engine, Prompt, Refusal
from inference.held_out import score_held_out
from inference.job import ScoringJob
from inference.orders import is_close, mean_logprobs, spread
from inference.prior import LabelPrior
from inference.progress import ScoringProgress
from inference.questions import Choice, Choices, Question, Rejected, questions
from inference.results import Bucket, Results, softmax
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
    """Artworks a0, a1, … with their log-probabilities, rotated."""
    ids = [f"a{number}" for number in range(len(logprobs))]
    return ids[turn:] + ids[:turn], logprobs[turn:] + logprobs[:turn]


def test_orders_are_spread_around_the_circle() -> None:
    assert spread(0, 4, 0) == [0]
    assert spread(3, 4, 1) == [3, 1]
    assert spread(1, 4, 3) == [1, 2, 3, 0]
    assert spread(0, 3, 39) == [0, 1, 2]
    assert spread(7, 40, 3) == [7, 17, 27, 37]
    assert spread(0, 1, 3) == [0]


@given(st.integers(1, 40), st.integers(0, 45), st.data())
def test_no_order_is_asked_twice(orderings: int, further: int, data: st.DataObject) -> None:
    ordering = data.draw(st.integers(0, orderings - 1))
    asked = spread(ordering, orderings, further)
    assert asked[0] == ordering
    assert len(set(asked)) == len(asked) == min(orderings, further + 1)
    assert set(asked) <= set(range(orderings))


def test_a_pair_is_close_by_its_two_largest_probabilities() -> None:
    assert is_close([0.1, 0.42, 0.48], 0.1)
    assert not is_close([0.1, 0.3, 0.6], 0.1)
    assert is_close([0.5, 0.5], 0)
    assert not is_close([0.51, 0.49], 0)
    # With 1 every pair is, a certain one too; but where there is one artwork there is nothing to tell apart.
    assert is_close([1.0, 0.0], 1)
    assert not is_close([1.0], 1)


@given(LOGPROBS, st.integers(1, 5))
def test_the_mean_of_equal_orders_is_each_of_them(logprobs: list[float], orders: int) -> None:
    assert mean_logprobs([named(logprobs)] * orders) == pytest.approx(logprobs, abs=1e-12)


def test_one_order_stays_as_it_is_to_the_bit() -> None:
    assert mean_logprobs([(["a", "b"], [-0.1, -2.3])]) == [-0.1, -2.3]


@given(st.lists(LOGPROBS.filter(lambda each: len(each) >= 3).map(lambda each: each[:3]), min_size=2), st.data())
def test_the_mean_does_not_depend_on_which_order_came_when(answers: list[list[float]], data: st.DataObject) -> None:
    orders = [named(logprobs, turn % 3) for turn, logprobs in enumerate(answers)]
    shuffled = [orders[0], *data.draw(st.permutations(orders[1:]))]
    assert mean_logprobs(orders) == mean_logprobs(shuffled)
    by_artwork = dict(zip(orders[-1][0], mean_logprobs(orders[::-1]), strict=True))
    assert mean_logprobs(orders) == [by_artwork[artwork] for artwork in orders[0][0]]


@given(st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0)), min_size=2, max_size=6))
def test_a_liking_for_numbers_falls_out_of_all_rotations(both: list[tuple[float, float]]) -> None:
    content, liking = [list(side) for side in zip(*both, strict=True)]
    orders = []
    for turn in range(len(content)):
        ids, turned = named(content, turn)
        orders.append((ids, [of_it + liked for of_it, liked in zip(turned, liking, strict=True)]))
    assert softmax(mean_logprobs(orders)) == pytest.approx(softmax(content), abs=1e-9)


def question(title: str, orders: int) -> Question:
    """Three artworks in the first `orders` rotations; the first token of a choice is its rotation."""
    turns = [Choice(named([0.0] * 3, turn)[0], array("i", [turn, 9])) for turn in range(orders)]
    return Question({"user_id": "u", "title_id": title}, 0, [7, 7, 7], turns, shortened=False)


class OneByOne:
    """Answers each question before it takes the next, by the rotation that is asked, and keeps what it was asked."""

    def __init__(self, *answers: Answer | Refusal) -> None:
        self.answers_by_turn, self.asked = answers, list[tuple[str, int]]()

    def answers(self, prompts: Iterable[Prompt[Any]]) -> Iterator[tuple[Any, Answer | Refusal]]:
        for prompt in prompts:
            turn = prompt.ids[3]
            self.asked.append((prompt.key[0].pair["title_id"], turn))
            yield prompt.key, self.answers_by_turn[turn]


def results(pairs: int, margin: float) -> Results:
    return Results(ScoringJob("nowhere", DS), Bucket(0, pairs, "f"), "model@1", LabelPrior({}), margin)


def answer(*probabilities: float, cached: int = 0) -> Answer:
    return Answer([math.log(each) for each in probabilities], cached)


def ask(engine: Any, pairs: list[Question | Rejected], found: Results) -> list[dict[str, Any]]:
    rows = list(Asking(iter(pairs), found, ScoringProgress(len(pairs))).scores(engine))
    found.end()
    return rows


def test_a_close_pairs_orders_go_before_new_questions() -> None:
    engine = OneByOne(answer(0.3, 0.32, 0.02), answer(0.2, 0.1, 0.1, cached=2), answer(0.2, 0.2, 0.4))
    found = results(3, 0.1)
    rows = ask(engine, [question("one", 3), question("two", 1), Rejected({}, "rule")], found)
    assert engine.asked == [("one", 0), ("one", 1), ("one", 2), ("two", 0)]
    assert [row["title_id"] for row in rows] == ["one", "two"]
    assert [row["artwork_ids"] for row in rows] == [["a0", "a1", "a2"]] * 2
    # Of a0: 0.3, the third number of 1-2-0, the second of 2-0-1. Then the same of a1 and a2.
    products = [0.3 * 0.1 * 0.2, 0.32 * 0.2 * 0.4, 0.02 * 0.1 * 0.2]
    roots = [product ** (1 / 3) for product in products]
    assert rows[0]["probabilities"] == pytest.approx([root / sum(roots) for root in roots])
    counts = {"pairs": 2, "rejected": 1, "shortened": 0, "asked_again": 1, "prompt_tokens": 20, "cached_tokens": 2}
    assert found.counts == counts
    # Of the pair asked thrice the mean of its answers counts, as one pair.
    assert found.label_mass == pytest.approx((0.64 + 0.4 + 0.8) / 3 + 0.64)


def test_a_pair_that_is_not_close_is_asked_once() -> None:
    engine = OneByOne(answer(0.6, 0.2, 0.2))
    found = results(1, 0.1)
    (row,) = ask(engine, [question("one", 3)], found)
    assert engine.asked == [("one", 0)]
    assert found.asked_again == 0
    assert row["probabilities"] == pytest.approx([0.6, 0.2, 0.2])


def test_whether_a_pair_is_close_is_asked_after_the_prior_is_off() -> None:
    engine = OneByOne(answer(0.6, 0.3, 0.1), answer(0.6, 0.3, 0.1))
    found = results(1, 0.1)
    found.prior = LabelPrior({3: [math.log(2), 0.0, 0.0]})
    ask(engine, [question("one", 2)], found)
    assert found.asked_again == 1


@pytest.mark.parametrize(
    ("bad", "rule"),
    [(Refusal("no"), "engine_refused"), (Answer([math.nan, -1.0, -1.0], 0), "probabilities_not_finite")],
)
def test_a_pair_with_an_order_that_is_not_answered_is_rejected_once(bad: Answer | Refusal, rule: str) -> None:
    engine = OneByOne(answer(0.3, 0.3, 0.3), bad, answer(0.3, 0.3, 0.3))
    found = results(2, 1)
    rows = ask(engine, [question("one", 3), question("two", 1)], found)
    assert [row["title_id"] for row in rows] == ["two"]
    assert [rejected.rule for rejected in found.rejected] == [rule]
    assert engine.asked == [("one", 0), ("one", 1), ("two", 0)]


def test_all_orders_of_a_pair_come_after_the_same_context(random_checkpoint: Checkpoint) -> None:
    tokens = Tokens(random_checkpoint)
    rows = [choice_row("two", 2, 0), choice_row("two", 2, 1)]
    # The other order is longer than the model's room, so that the pair's own loses history for it.
    rows[1]["choice"] = choice("a longer name", 2)
    text = context("drama", *(f"Film {number}" for number in range(20)))
    limit = len(tokens.context(text).ids) + len(tokens.ids(rows[0]["choice"]))
    contexts = [context_row("u", 0, text, ["two"])]
    ((alone,),) = questions(contexts, Choices(rows, tokens), tokens, limit)
    ((both,),) = questions(contexts, Choices(rows, tokens), tokens, limit, further_orders=3)
    assert isinstance(alone, Question)
    assert isinstance(both, Question)
    assert (alone.shortened, len(alone.orders)) == (False, 1)
    assert (both.shortened, len(both.orders)) == (True, 2)
    assert [order.artwork_ids for order in both.orders] == [["two-a0", "two-a1"], ["two-a1", "two-a0"]]
    assert max(both.tokens(0), both.tokens(1)) <= limit
    assert [len(both.prompt_in(order)) for order in (0, 1)] == [both.tokens(0), both.tokens(1)]


TITLES = {"two": 2, "five": 5}


@pytest.fixture
def night(tmp_path: Path, random_checkpoint: Checkpoint) -> Path:
    """Six users in two buckets with two pairs each; a choice has as many as three orderings."""
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
        asked = [choice_row(title, TITLES[title], turn) for turn in range(min(TITLES[title], 3))]
        prompts = [Prompt(each["ordering"], text + tokens.ids(each["choice"]), TITLES[title]) for each in asked]
        given = dict(engine.answers(prompts))
        orders = [(each["artwork_ids"], given[each["ordering"]].logprobs) for each in asked]
        assert row["probabilities"] == pytest.approx(softmax(mean_logprobs(orders)), abs=1e-5)
        assert row["probabilities"] != pytest.approx(once["probabilities"], abs=1e-4)
        assert {key: row[key] for key in row if key != "probabilities"} == {
            key: once[key] for key in once if key != "probabilities"
        }
    # A further order of a pair finds its context in the cache: 6 users, 1 of "two" and 2 of "five".
    further = 6 * 3 * (len(text) // 32 * 32)
    assert averaged["cached_tokens"] - plain["cached_tokens"] >= further > 0
    assert [run["asked_again"] for run in stored(night, SCORING_RUNS, "bucket")] == [6, 6]
    assert stored(night, REJECTED_ROWS) == []


def test_a_bucket_is_done_only_for_the_orders_that_it_was_scored_in(night: Path, score_night: Any) -> None:
    score_night(further_orders=2, close_margin=1)
    before = scores(night)
    assert score_night(further_orders=2, close_margin=1)["buckets_skipped"] == 2
    assert score_night(further_orders=2, close_margin=0.5)["buckets_skipped"] == 0
    assert score_night(further_orders=2, close_margin=1)["buckets_skipped"] == 0
    assert scores(night) == before
    # Where nothing is asked again, it does not matter how close a pair would have to be.
    score_night()
    assert score_night(close_margin=0.7)["buckets_skipped"] == 2


def test_held_out_questions_in_several_orders_go_under_a_name_of_their_own(
    tmp_path: Path, random_checkpoint: Checkpoint, engine: Engine
) -> None:
    start = running(engine)
    config = settings_for(tmp_path)
    choices = [choice_row("two", 2, 0), choice_row("two", 2, 1)]
    users = [context_row("user", 0, context("drama"), ["two"])]
    make_questions(tmp_path, users, choices)
    score_held_out(DS, random_checkpoint, config, start=start)
    score_held_out(DS, random_checkpoint, config, orders=4, start=start)
    version = random_checkpoint.version
    once, both = stored(tmp_path, HELD_OUT_SCORES, "model_version")
    assert (once["model_version"], both["model_version"]) == (version, f"{version}+orders4")
    assert once["probabilities"] != both["probabilities"]
    asked = ("context_key", "choice_key", "artwork_ids", "prompt_hash")
    assert {name: once[name] for name in asked} == {name: both[name] for name in asked}
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
