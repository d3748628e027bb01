"""Examples as token ids: training uses the same prompts as scoring."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.checkpoint import Checkpoint
from inference.questions import Choices, Question, questions
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.tables import POST_TRAINING_EXAMPLES
from tests.inference_data import DS, choice, context
from tests.training_data import example, make_source, pair
from training.data import (
    ANSWER_SCHEMA,
    IGNORED,
    PAIR_SCHEMA,
    Source,
    answer_row,
    arranged,
    open_source,
    preference_row,
    preference_rows,
    prompt_ids,
    tokenized,
)
from training.settings import Sft
from training.sft import weighted_examples

LIMIT = 1023


@pytest.fixture(scope="module")
def tokens(random_checkpoint: Checkpoint) -> Tokens:
    return Tokens(random_checkpoint)


def scored_prompt(tokens: Tokens, text: str, choice: str, limit: int) -> list[int]:
    """The prompt as the scorer makes it from `user_contexts` and `title_choices`."""
    choices = Choices([{"title_id": "t", "ordering": 0, "artwork_ids": ["a"] * 4, "choice": choice}], tokens)
    pairs = [{"title_id": "t", "ordering": 0, "prompt_hash": 0}]
    ((question,),) = questions([{"user_id": "u", "context": text, "pairs": pairs}], choices, tokens, limit)
    assert isinstance(question, Question)
    return question.prompt


@pytest.mark.parametrize("short_of", [0, 1, 30])
def test_a_prompt_has_the_ids_that_scoring_gives_it_also_where_it_is_too_long(tokens: Tokens, short_of: int) -> None:
    text, cafe = context("drama", *(f"Film {number} (1999): drama" for number in range(9))), choice("Café", 4)
    limit = len(scored_prompt(tokens, text, cafe, LIMIT)) - short_of
    found = prompt_ids(tokens, text, cafe, limit)
    assert found == scored_prompt(tokens, text, cafe, limit)
    assert (found == scored_prompt(tokens, text, cafe, LIMIT)) == (short_of == 0)


def test_loss_is_on_the_answers_token_and_no_row_is_lost(tokens: Tokens) -> None:
    rows = [{**example(number), "weight": 1.0} for number in range(12)]
    made = tokenized(rows, tokens, LIMIT, ANSWER_SCHEMA, answer_row(tokens))
    assert len(made.rows) == 12
    assert made.too_long == 0
    for row, of in zip(made.rows, rows, strict=True):
        assert [label for label in row["labels"] if label != IGNORED] == [tokens.labels[of["shown"] - 1]]
        assert row["labels"][-1] == row["input_ids"][-1] == tokens.labels[of["shown"] - 1]
        assert len(row["labels"]) == len(row["input_ids"])
    assert made.longest == max(len(row["input_ids"]) for row in made.rows) - 1


def test_a_prompt_that_is_too_long_is_counted(tokens: Tokens) -> None:
    rows = [{**example(0), "weight": 1.0}, {**example(1, options=40), "weight": 1.0}]
    made = tokenized(rows, tokens, 160, ANSWER_SCHEMA, answer_row(tokens))
    assert (len(made.rows), made.too_long) == (1, 1)


def test_an_error_says_why_there_is_nothing_to_learn_from(tokens: Tokens, tmp_path: Path) -> None:
    long: list[Any] = [{**example(1, options=40), "weight": 1.0}]
    for rows, cause in ((long, "all 1 prompts have more than 160 tokens.*--base"), ([], ".* no play .*log more")):
        with pytest.raises(ContractError, match=f"post_training_examples: nothing to learn from: {cause}"):
            tokenized(rows, tokens, 160, ANSWER_SCHEMA, answer_row(tokens))
    for folder, pairs in (("others", [pair(example(0))]), ("none", [])):
        source = make_source(tmp_path / folder, [example(0)], pairs)
        message = "preference_pairs: no pairs of same_user or never_shown for ds=2026-01-05"
        with pytest.raises(ContractError, match=message):
            next(preference_rows(source, ("same_user", "never_shown"), 5.0))


def test_weights_are_clipped_inverse_propensities_of_mean_one(tmp_path: Path) -> None:
    source = make_source(tmp_path, [example(0), example(1), example(2, played=False)])
    weights = [row["weight"] for row in weighted_examples(source, Sft(propensity_clip=5.0))]
    assert weights == pytest.approx([5.0 / 3.055556, 1.111111 / 3.055556], rel=1e-5)
    assert [row["weight"] for row in weighted_examples(source, Sft(propensity_clip=0.0))] == [1.0, 1.0]
    assert len(list(weighted_examples(source, Sft(not_played=0.5)))) == 3


def test_a_limit_counts_the_examples_to_learn_from(tmp_path: Path) -> None:
    source = make_source(tmp_path, [example(0, played=False), example(1), example(2)])
    assert [row["played"] for row in weighted_examples(source, Sft(limit=1))] == [True]
    assert [row["played"] for row in weighted_examples(source, Sft(limit=1, not_played=0.5))] == [False]


def test_preference_pairs_are_joined_to_their_example_and_only_wanted_kinds(tokens: Tokens, tmp_path: Path) -> None:
    examples = [example(number) for number in range(3)]
    kinds = ("same_user", "like_users", "never_shown")
    pairs = [pair(of, kind) for of, kind in zip(examples, kinds, strict=True)]
    # Rejected for both wanted kinds, and one more only for the first.
    pairs += [pair(examples[1], "never_shown", weight=0.25), pair(examples[1], "never_shown", after=2, weight=0.75)]
    source = make_source(tmp_path, examples, pairs)
    made = tokenized(
        preference_rows(source, ("like_users", "never_shown"), 5.0), tokens, LIMIT, PAIR_SCHEMA, preference_row(tokens)
    )
    assert len(made.rows) == 2
    row, of = made.rows[0], examples[1]
    assert row["prompt_ids"] == scored_prompt(tokens, of["context"], of["choice"], LIMIT)
    assert (row["chosen_ids"], row["rejected_ids"]) == ([tokens.labels[1]], [tokens.labels[2], tokens.labels[3]])
    # The plays count 1 / 0.9 and min(1 / 0.1, 5), divided by the mean.
    counts = (1 / 0.9, 5.0)
    of_mean = counts[0] / (sum(counts) / 2)
    assert row["weights"] == pytest.approx([1.25 / 2 * of_mean, 0.75 / 2 * of_mean])
    assert sum(sum(row["weights"]) for row in made.rows) == pytest.approx(2)


def test_pairs_without_their_example_are_an_error(tmp_path: Path) -> None:
    source = make_source(tmp_path, [example(0)], [pair(example(0)), pair(example(1))])
    with pytest.raises(ContractError, match="pairs of 1 examples that are not in"):
        list(preference_rows(source, ("like_users",), 5.0))


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process in the time zone of New York."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_impressions_of_the_hour_that_is_repeated_in_autumn_stay_two(tmp_path: Path) -> None:
    """05:30 and 06:30 UTC are both 01:30 in New York on 2026-11-01."""
    moments = [datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6)]
    assert {moment.astimezone().strftime("%H:%M") for moment in moments} == {"01:30"}
    first, second = (example(1, shown_at=at, context=context(theme)) for at, theme in zip(moments, "ab", strict=True))
    source = make_source(tmp_path, [first, second], [pair(first, after=1), pair(second, after=2)])
    found = {row["context"]: row["rejected"] for row in preference_rows(source, ("like_users",), 5.0)}
    assert found == {first["context"]: [3], second["context"]: [4]}


def test_a_limit_ends_the_reading_of_texts_and_not_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [example(number) for number in range(4)]
    source = make_source(tmp_path, examples, [pair(each) for each in examples])
    read: list[str] = []
    rows = Source.rows

    def counted(self: Source, *arguments: Any) -> Iterator[dict[str, Any]]:
        for row in rows(self, *arguments):
            if "context" in row:
                read.append(row["user_id"])
            yield row

    monkeypatch.setattr(Source, "rows", counted)
    assert len(list(preference_rows(source, ("like_users",), 5.0, limit=1))) == 1
    assert len(read) == 1
    assert len(list(preference_rows(source, ("like_users",), 5.0))) == 4
    stray = make_source(tmp_path / "stray", examples, [pair(examples[0]), pair(example(9))])
    with pytest.raises(ContractError, match="pairs of 1 examples that are not in"):
        next(preference_rows(stray, ("like_users",), 5.0, limit=1))


def test_a_day_without_examples_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="run the step examples first"):
        open_source(str(tmp_path), DS, [POST_TRAINING_EXAMPLES])
    make_source(tmp_path, [example(0)])
    with pytest.raises(ContractError, match="no rows for ds=2026-01-06"):
        open_source(str(tmp_path), DS.replace(day=6), [POST_TRAINING_EXAMPLES])


def test_batches_have_rows_of_similar_length_and_are_shuffled() -> None:
    from datasets import Dataset

    rng = np.random.default_rng(0)
    made = Dataset.from_dict({"input_ids": [[0] * int(size) for size in rng.integers(1, 400, 1003)]})
    lengths = np.array([len(ids) for ids in arranged(made, "input_ids", batch=10, seed=1)["input_ids"]])
    assert sorted(lengths) == sorted(len(ids) for ids in made["input_ids"])
    batches = lengths[:1000].reshape(100, 10)
    assert np.mean(batches.max(axis=1) - batches.min(axis=1)) < 60
    # No correlation between a batch's index and its length, nor between one batch and the next.
    means = batches.mean(axis=1)
    assert abs(np.corrcoef(np.arange(100), means)[0, 1]) < 0.3
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3
