"""The tiny Llama: its recipe on a handful of literal texts, and the repository's checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoTokenizer, LlamaForCausalLM

from examples.make_tiny_llama import FOLDER, MAX_LENGTH, Heads, Recipe, hidden_states, losses, make_checkpoint
from examples.tiny_batches import CHOICES_PER_CONTEXT, Batches
from examples.tiny_texts import CAPTIONED, Choice, Texts, expected_liking
from examples.tiny_tokenizer import BEGIN, BEGIN_ID, END, END_ID, END_OF_TURN, END_OF_TURN_ID
from examples.truth import TASTE
from examples.vocabulary import THEME_NAMES
from inference.checkpoint import read_checkpoint
from inference.tokens import Tokens
from schemas.tables import MAX_ARTWORKS

pytestmark = pytest.mark.slow


def made_up_texts(users: int = 40, titles: int = 60) -> Texts:
    rng = np.random.default_rng(0)
    contexts = [
        "Choose the artwork that the user is most likely to play.\nLeading themes: drama\nWatched, latest first:\n"
        + "".join(f"- Film {n} ({1980 + n}): drama, war\n" for n in range(int(rng.integers(1, 6))))
        for _ in range(users)
    ]
    choices = []
    for number in range(titles):
        options = int(rng.integers(2, 9))
        listed = "".join(f"{place}. A lone rider number {place * number}\n" for place in range(1, options + 1))
        choices.append(Choice(f"Title: Film {number}\n{listed}Answer: ", rng.random((options, CAPTIONED))))
    return Texts(contexts, rng.normal(size=(users, len(THEME_NAMES))), choices)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_checkpoint(folder, [made_up_texts()], Recipe(steps=2, users=0, titles=0, seed=1), Console(quiet=True))
    return folder


@pytest.fixture(scope="module")
def model(made: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(made, dtype=torch.float32)


def test_a_made_checkpoint_may_score(made: Path) -> None:
    checkpoint = read_checkpoint(made)
    assert checkpoint.max_model_len == MAX_LENGTH
    assert len(Tokens(checkpoint).labels) == MAX_ARTWORKS


def test_a_context_read_once_gives_what_whole_prompts_give(made: Path, model: LlamaForCausalLM) -> None:
    tokens = Tokens(read_checkpoint(made))
    batch = Batches(made_up_texts(), tokens.ids, tokens.labels).draw(np.random.default_rng(1), 1)
    choice_hidden = hidden_states(model, batch)[1][-1]
    for row in range(len(batch.choices)):
        context = batch.users.contexts[row // CHOICES_PER_CONTEXT]
        context_ids = context[: batch.users.lengths[row // CHOICES_PER_CONTEXT]]
        choice_ids = batch.choices[row][: batch.choice_lengths[row]]
        whole = model.model(torch.cat([context_ids, choice_ids])[None]).last_hidden_state[0, len(context_ids) :]
        torch.testing.assert_close(choice_hidden[row, : len(choice_ids)], whole, atol=2e-4, rtol=1e-3)


def test_losses_before_training_are_near_those_of_chance(made: Path, model: LlamaForCausalLM) -> None:
    tokens = Tokens(read_checkpoint(made))
    batch = Batches(made_up_texts(), tokens.ids, tokens.labels).draw(np.random.default_rng(1), 1)
    found = losses(model, Heads(model.config.hidden_size), batch, torch.tensor(tokens.labels))
    assert found.answer.item() == pytest.approx(np.log(model.config.vocab_size), rel=0.3)
    assert found.number.item() == pytest.approx(np.log(MAX_ARTWORKS), rel=0.3)
    assert found.gained <= 1


def test_option_ends_are_line_breaks_and_padding_is_no_option(made: Path) -> None:
    tokens = Tokens(read_checkpoint(made))
    batch = Batches(made_up_texts(), tokens.ids, tokens.labels).draw(np.random.default_rng(2), 1)
    line_break, colon_and_break = tokens.ids("\n")[0], tokens.ids("Watched, latest first:\n")[-1]
    ends = batch.choices.gather(1, batch.option_ends)
    assert (ends[batch.options] == line_break).all()
    assert set(batch.users.contexts.gather(1, batch.users.line_ends).flatten().tolist()) == {
        line_break,
        colon_and_break,
    }
    assert (batch.captioned[~batch.options] == 0).all()


def test_options_missing_in_the_text_are_an_error() -> None:
    texts = made_up_texts(titles=1)
    texts = replace(texts, choices=[replace(texts.choices[0], captioned=np.zeros((30, CAPTIONED)))])
    with pytest.raises(ValueError, match=r"found \d+ options, expected 30"):
        Batches(texts, lambda text: [ord(letter) for letter in text], list(range(MAX_ARTWORKS)))


def test_numbers_that_are_no_single_tokens_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not begin with the tokens of their numbers"):
        Batches(made_up_texts(), lambda text: [ord(letter) for letter in text], list(range(MAX_ARTWORKS)))


def test_every_number_occurs_and_options_have_the_numbers_in_the_batch(made: Path) -> None:
    tokens = Tokens(read_checkpoint(made))
    labels = torch.tensor(tokens.labels)
    batches, rng = Batches(made_up_texts(), tokens.ids, tokens.labels), np.random.default_rng(3)
    met: set[int] = set()
    from_one = choices = 0
    for _ in range(20):
        batch = batches.draw(rng, 1)
        after_another = batch.options[:, 1:]
        # A number follows the line break of the option before it.
        written = batch.choices.gather(1, batch.option_ends[:, :-1] + 1)
        assert (written == labels[batch.numbers[:, 1:]])[after_another].all()
        assert (batch.numbers.diff(dim=1)[batch.options[:, 1:]] == 1).all()
        met.update(batch.numbers[batch.options].tolist())
        from_one += int((batch.numbers[:, 0] == 0).sum())
        choices += len(batch.choices)
    assert met == set(range(MAX_ARTWORKS))
    assert 0.4 < from_one / choices < 0.65


def test_the_answer_is_learned_under_the_numbers_in_the_batch(made: Path, model: LlamaForCausalLM) -> None:
    tokens = Tokens(read_checkpoint(made))
    batch = Batches(made_up_texts(), tokens.ids, tokens.labels).draw(np.random.default_rng(4), 1)
    sure = replace(batch, liking=100.0 * (torch.arange(batch.liking.shape[1]) == 1).expand_as(batch.liking))
    labels = torch.tensor(tokens.labels)
    hidden = hidden_states(model, batch)[1][-1]
    last = hidden[torch.arange(len(hidden)), batch.choice_lengths - 1]
    logprobs = model.lm_head(last).log_softmax(-1)
    of_second = logprobs[torch.arange(len(hidden)), labels[batch.numbers[:, 1]]]
    found = losses(model, Heads(model.config.hidden_size), sure, labels)
    assert found.answer.item() == pytest.approx(-of_second.mean().item(), rel=1e-4)


def test_liking_is_taste_for_the_themes_and_nothing_else() -> None:
    taste, captioned = np.zeros(len(THEME_NAMES)), np.zeros(CAPTIONED)
    taste[2], captioned[2] = 2.0, 0.5
    captioned[len(THEME_NAMES) :] = 3.0
    assert expected_liking(taste, captioned) == pytest.approx(TASTE * 1.0)


def test_the_shipped_checkpoint_is_small_and_may_score() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 5_000_000
    checkpoint = read_checkpoint(FOLDER)
    assert checkpoint.max_model_len == MAX_LENGTH
    assert len(set(Tokens(checkpoint).labels)) == MAX_ARTWORKS


def test_the_shipped_tokenizer_loads_as_llamas_do() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert tokenizer.convert_tokens_to_ids([BEGIN, END, END_OF_TURN]) == [BEGIN_ID, END_ID, END_OF_TURN_ID]
    text = "Toy Story (1995): animation, children's — 🙂 שלום\n"
    assert tokenizer(text)["input_ids"][0] == tokenizer.bos_token_id
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
