"""Batches of contexts, each followed by several choices, as padded arrays of token ids."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from examples.tiny_texts import Texts, expected_liking
from examples.tiny_tokenizer import BEGIN_ID
from schemas.prompt import INSTRUCTION_LINES, option_lines

CHOICES_PER_CONTEXT = 4
_MOST_CHOICES = 96
_LONG_OPTIONS = 12
# Share of choices whose options are numbered from another number than 1. In a catalogue, options over 12 are rare and
# those from 30 on nearly absent: a model trained only on that does not answer with these numbers.
_MOVED_SHARE = 0.5


@dataclass(frozen=True)
class _Packing:
    """Size of a batch: the most tokens, and the number of neighbours in length from which choices are drawn."""

    tokens: int
    neighbours: int


_USUAL = _Packing(tokens=6_000, neighbours=4 * _MOST_CHOICES)
# Long choices are few and differ widely in length: with more neighbours, most would be padded to the longest.
_LONG = _Packing(tokens=8_000, neighbours=64)


@dataclass(frozen=True)
class _EncodedContext:
    ids: np.ndarray
    line_ends: np.ndarray  # index of each line break after the leading themes


@dataclass(frozen=True)
class _EncodedChoice:
    ids: np.ndarray
    option_starts: np.ndarray  # index of each option's number
    option_ends: np.ndarray  # index of each option's line break
    captioned: np.ndarray


@dataclass(frozen=True)
class Users:
    """C contexts (C, P), padded with 0 at the end; `lengths` are without padding. `line_ends` (C, L) are the indices
    where lines of the context end, padded with the last one; `tastes` (C, 18) are the users' tastes.
    """

    contexts: Tensor
    lengths: Tensor
    line_ends: Tensor
    tastes: Tensor


@dataclass(frozen=True)
class Batch:
    """The contexts of C users, and N = C × CHOICES_PER_CONTEXT choices, sorted by context; K is the most options.

    choices (N, S) are padded with 0 at the end; their lengths are without padding. `options` (N, K) is true where there
    is an option, `numbers` (N, K) is its number counted from 0, `option_ends` (N, K) the index of its line break,
    `captioned` (N, K, CAPTIONED) the content of its text, and `liking` (N, K) the user's liking for that.
    """

    users: Users
    choices: Tensor
    choice_lengths: Tensor
    options: Tensor
    numbers: Tensor
    option_ends: Tensor
    captioned: Tensor
    liking: Tensor


class Batches:
    """Draws batches from one service's texts. A batch's contexts have similar lengths, and so have its choices.

    Half of the choices have their options numbered as in the text, the others from a random number that leaves room for
    all. `labels` are the token ids of the option numbers.
    """

    def __init__(self, texts: Texts, encode: Callable[[str], list[int]], labels: list[int]) -> None:
        self._tastes, self._labels = texts.tastes, np.array(labels)
        self._contexts = [_encoded_context(text, encode) for text in texts.contexts]
        self._by_length = np.argsort([len(context.ids) for context in self._contexts], kind="stable")
        encoded = [_encoded(choice.text, choice.captioned, encode, self._labels) for choice in texts.choices]
        encoded.sort(key=lambda choice: len(choice.ids))
        self._usual = [choice for choice in encoded if len(choice.option_ends) <= _LONG_OPTIONS]
        self._long = [choice for choice in encoded if len(choice.option_ends) > _LONG_OPTIONS]

    def draw(self, rng: np.random.Generator, shortest: float, long: bool = False) -> Batch:
        """A batch from the `shortest` share of the choices (1: from all), or of the `long` ones.

        Long choices have over 12 options, the others 2 to 12. Contexts are of all lengths: short histories say too
        little about a taste to learn from them alone.
        """
        choices = (
            _draw_choices(self._long, _LONG, rng, 1.0)
            if long and self._long
            else _draw_choices(self._usual, _USUAL, rng, shortest)
        )
        count = len(choices) // CHOICES_PER_CONTEXT
        users = self.draw_users(rng, count)
        first = [self._first_number(len(choice.option_ends), rng) for choice in choices]
        ids, lengths = _padded([self._numbered(choice, start) for choice, start in zip(choices, first, strict=True)])
        captioned = _stacked([choice.captioned for choice in choices])
        option_ends = _stacked([choice.option_ends for choice in choices])
        places = np.arange(captioned.shape[1])
        options = places < np.array([[len(choice.option_ends)] for choice in choices])
        numbers = np.where(options, np.array(first)[:, None] + places, 0)
        repeated = users.tastes.numpy().repeat(CHOICES_PER_CONTEXT, axis=0)
        liking = expected_liking(repeated[:, None], captioned)
        return Batch(
            users=users,
            choices=torch.from_numpy(ids),
            choice_lengths=torch.from_numpy(lengths),
            options=torch.from_numpy(options),
            numbers=torch.from_numpy(numbers),
            option_ends=torch.from_numpy(option_ends),
            captioned=torch.from_numpy(captioned).float(),
            liking=torch.from_numpy(liking).float(),
        )

    def draw_users(self, rng: np.random.Generator, count: int) -> Users:
        """`count` contexts of similar length."""
        users = rng.choice(_window(self._by_length, 8 * count, rng), size=count, replace=False)
        contexts, lengths = _padded([self._contexts[user].ids for user in users])
        line_ends, line_counts = _padded([self._contexts[user].line_ends for user in users])
        line_ends = np.where(np.arange(line_ends.shape[1]) < line_counts[:, None], line_ends, lengths[:, None] - 1)
        return Users(
            contexts=torch.from_numpy(contexts),
            lengths=torch.from_numpy(lengths),
            line_ends=torch.from_numpy(line_ends),
            tastes=torch.from_numpy(self._tastes[users]).float(),
        )

    def _first_number(self, options: int, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self._labels) - options + 1)) if rng.random() < _MOVED_SHARE else 0

    def _numbered(self, choice: _EncodedChoice, first: int) -> np.ndarray:
        ids = choice.ids.copy()
        ids[choice.option_starts] = self._labels[first : first + len(choice.option_starts)]
        return ids


def _draw_choices(
    ordered: list[_EncodedChoice], packing: _Packing, rng: np.random.Generator, shortest: float
) -> list[_EncodedChoice]:
    near = _window(_first(np.arange(len(ordered)), shortest), packing.neighbours, rng)
    longest = len(ordered[near[-1]].ids)
    count = min(_MOST_CHOICES, len(near), packing.tokens // longest) // CHOICES_PER_CONTEXT * CHOICES_PER_CONTEXT
    drawn = rng.choice(near, size=max(CHOICES_PER_CONTEXT, count), replace=len(near) < CHOICES_PER_CONTEXT)
    return [ordered[place] for place in drawn]


def _encoded_context(text: str, encode: Callable[[str], list[int]]) -> _EncodedContext:
    lines = [encode(line) for line in text.splitlines(keepends=True)]
    ends = np.cumsum([len(line) for line in lines])  # beginning of text shifts each by one
    return _EncodedContext(np.array([BEGIN_ID, *(token for line in lines for token in line)]), ends[INSTRUCTION_LINES:])


def _encoded(
    text: str, captioned: np.ndarray, encode: Callable[[str], list[int]], labels: np.ndarray
) -> _EncodedChoice:
    lines = text.splitlines(keepends=True)
    ids = [encode(line) for line in lines]
    ends = np.cumsum([len(line) for line in ids])
    listed = list(option_lines(lines))
    starts = ends - [len(line) for line in ids]
    choice = _EncodedChoice(np.concatenate(ids), starts[listed], ends[listed] - 1, captioned)
    if len(choice.option_ends) != len(captioned):
        raise ValueError(f"found {len(choice.option_ends)} options, expected {len(captioned)}: {text!r}")
    if not np.array_equal(choice.ids[choice.option_starts], labels[: len(captioned)]):
        raise ValueError(f"options do not begin with the tokens of their numbers: {text!r}")
    return choice


def _first(ordered: np.ndarray, share: float) -> np.ndarray:
    return ordered[: math.ceil(share * len(ordered))]


def _window(ordered: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    """A random run of `width` neighbours."""
    start = int(rng.integers(max(1, len(ordered) - width + 1)))
    return ordered[start : start + width]


def _padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return _stacked(rows), np.array([len(row) for row in rows])


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of different lengths in one array, padded with zeros."""
    stacked = np.zeros((len(rows), max(len(row) for row in rows), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked
