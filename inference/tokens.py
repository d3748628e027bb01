"""From texts to token ids, the same for scoring and for training.

A text is tokenized line by line, so that a line met before costs nothing and a prompt can lose its oldest lines without
being tokenized again: ids(text) = ids(line 1) + ids(line 2) + …, each line with its line break. A prompt is
[beginning of text] + ids(context) + ids(choice).
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from inference.checkpoint import Checkpoint
from inference.tokenizer import number_ids, read_tokenizer
from schemas.prompt import history_begins

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# A line of a title recurs with every user who watched it: 2^17 lines of 15 tokens and some text are about 30 MB.
_LINES_KEPT = 2**17


@dataclass(frozen=True)
class Context:
    """A context's tokens, beginning of text included, and the lengths at which it may end."""

    ids: list[int]
    ends: list[int]
    """Tokens up to where each ending would cut, ascending: without any history first, whole last."""

    def within(self, room: int) -> list[int] | None:
        """The tokens without as much of the oldest history as it takes to have at most `room`; None if none is short
        enough.
        """
        fitting = bisect_right(self.ends, room)
        if fitting == len(self.ends):
            return self.ids
        return self.ids[: self.ends[fitting - 1]] if fitting else None


class Tokens:
    """A checkpoint's tokenizer. Making one checks that it loses no text and has the option numbers as single tokens."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        bos = checkpoint.bos_token_id
        self._tokenizer = read_tokenizer(checkpoint.path, checkpoint.vocab_size, [bos])
        self._line_ids = lru_cache(maxsize=_LINES_KEPT)(self._encode)
        self._bos = [bos]
        self.labels = number_ids(self._tokenizer, checkpoint.path)
        """Token ids of the option numbers "1", "2", …, "40"."""
        self.special_ids = {id_ for id_, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}

    def ids(self, text: str) -> list[int]:
        """The token ids of a text of whole lines (the last may lack its line break), without beginning of text."""
        return [token for line in _LINE.findall(text) for token in self._line_ids(line)]

    def text(self, ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def ends_of_line(self) -> set[int]:
        """The tokens at which a line ends: those with a line break in them, and the special ones."""
        ids = sorted(self._tokenizer.get_vocab(with_added_tokens=True).values())
        texts = self._tokenizer.decode_batch([[each] for each in ids])
        return self.special_ids | {each for each, text in zip(ids, texts, strict=True) if "\n" in text}

    def context(self, text: str) -> Context:
        """A context, ready to be fitted. Its last lines are the history, latest first."""
        lines = _LINE.findall(text)
        kept = history_begins(lines)
        line_ids = [self._line_ids(line) for line in lines]
        lengths = list(accumulate(map(len, line_ids), initial=len(self._bos)))
        return Context(self._bos + [token for ids in line_ids for token in ids], lengths[kept:])

    def _encode(self, line: str) -> array[int]:
        return array("i", self._tokenizer.encode(line, add_special_tokens=False).ids)
