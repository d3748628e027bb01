"""Text to token ids: tokenizing by line, cutting a prompt, and the labels of options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.checkpoint import Checkpoint, write_manifest
from inference.questions import Choices, Question, questions
from inference.teacher import teacher_prompt
from inference.tokens import Context, Tokens
from schemas.contract import ContractError
from schemas.prompt import ANSWER, history_begins
from tests.inference_data import SPECIAL, choice_row, context, context_row, letter_tokenizer, make_checkpoint
from training.data import answer_row, prompt_ids

texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\n\n- <|>12")), max_size=60)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write_manifest(make_checkpoint(tmp_path_factory.mktemp("tokens") / "llama"), "random")


@pytest.fixture(scope="module")
def tokens(checkpoint: Checkpoint) -> Tokens:
    return Tokens(checkpoint)


@given(first=texts, second=texts)
def test_ids_of_a_text_are_the_ids_of_its_lines(tokens: Tokens, first: str, second: str) -> None:
    assert tokens.ids(first + "\n" + second) == tokens.ids(first + "\n") + tokens.ids(second)


@given(texts)
def test_nothing_is_lost_in_tokens(tokens: Tokens, text: str) -> None:
    assert tokens._tokenizer.decode(tokens.ids(text), skip_special_tokens=False) == text


@given(st.lists(st.one_of(texts, st.sampled_from(SPECIAL)), max_size=5).map("".join))
def test_no_text_becomes_a_special_token(tokens: Tokens, text: str) -> None:
    assert not {0, 1, 2} & set(tokens.ids(text))
    assert not {1, 2} & set(tokens.context(text).ids)


@given(texts)
def test_a_context_begins_with_beginning_of_text_and_holds_its_text(tokens: Tokens, text: str) -> None:
    assert tokens.context(text).ids == [0, *tokens.ids(text)]


@given(viewings=st.integers(0, 6), room=st.integers(0, 120))
def test_a_context_that_is_too_long_loses_its_oldest_viewings(tokens: Tokens, viewings: int, room: int) -> None:
    watched = [f"Film {number} (19{number}0): drama" for number in range(viewings)]
    lines = context("drama", *watched).splitlines(keepends=True)
    whole = tokens.context("".join(lines))
    candidates = [tokens.context("".join(lines[:end])).ids for end in range(history_begins(lines), len(lines) + 1)]
    fitting = [ids for ids in candidates if len(ids) <= room]
    assert whole.within(room) == (fitting[-1] if fitting else None)


def test_only_viewings_at_the_end_of_a_context_are_history(tokens: Tokens) -> None:
    text = "- not history\nWatched:\n- one\n- two\n"
    assert [len(tokens.ids(text[:end])) + 1 for end in (text.index("- one"), text.index("- two"), len(text))] == (
        tokens.context(text).ends
    )


@given(st.sets(st.integers(1, 50), min_size=1), st.integers(0, 60))
def test_within_gives_the_longest_ending_that_fits(ends: set[int], room: int) -> None:
    found = Context(list(range(max(ends))), sorted(ends)).within(room)
    assert (None if found is None else len(found)) == max((end for end in ends if end <= room), default=None)


def test_labels_are_the_tokens_that_follow_answer(tokens: Tokens) -> None:
    assert len(set(tokens.labels)) == 40
    for number, label in enumerate(tokens.labels, start=1):
        assert tokens.ids(f"{ANSWER}{number}") == [*tokens.ids(ANSWER), label]


def test_a_tokenizer_that_its_manifest_should_have_refused_does_not_score(checkpoint: Checkpoint) -> None:
    """A manifest may be older than a check."""
    with pytest.raises(ContractError, match="do not belong together"):
        Tokens(replace(checkpoint, vocab_size=300))
    with pytest.raises(ContractError, match=r"token 7 is .*, expected a special token"):
        Tokens(replace(checkpoint, bos_token_id=7))


def test_scoring_training_and_teaching_use_the_letters_that_the_manifest_says(tmp_path: Path) -> None:
    """The tables have numbers, whatever the model."""
    letters = write_manifest(make_checkpoint(tmp_path / "letters", letter_tokenizer()), "letters")
    tokens = Tokens(letters)
    user, title = context_row("u", 0, context("drama", "Film 1"), ["t"]), choice_row("t", 3)
    ((question,),) = questions([user], Choices([title], tokens), tokens, 1000)
    assert isinstance(question, Question)
    assert tokens.text(question.prompt) == user["context"] + title["choice"].replace("\n1.", "\nA.").replace(
        "\n2.", "\nB."
    ).replace("\n3.", "\nC.").removesuffix(" ")
    assert prompt_ids(tokens, user["context"], title["choice"], 1000) == question.prompt
    row = answer_row(tokens)({"shown": 2, "weight": 1.0, "played": True}, question.prompt)
    assert tokens.text(row["input_ids"]) == tokens.text(question.prompt) + " B"
    taught = teacher_prompt(tokens, {**user, **title, "shown": 3}, 1000)
    assert taught is not None
    assert tokens.text(taught).startswith(tokens.text(question.prompt) + " C\nIn one sentence")
