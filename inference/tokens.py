"""Text to token ids, in the same way for scoring and for training.

Text is tokenized line by line, so that a repeated line costs nothing and a prompt can lose its oldest lines without
being tokenized again: ids(text) = ids(line 1) + ids(line 2) + …, each line with its line break. A prompt is
[beginning of text] + ids(context) + ids(choice), the choice with the labels that the model reads.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from inference.checkpoint import Checkpoint
from inference.tokenizer import label_ids, read_tokenizer
from schemas.prompt import LABELS, history_begins, option_lines

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# A title's line recurs for every user who watched it: 2^17 lines of 15 tokens with their text take about 30 MB.
_LINES_KEPT = 2**17


@dataclass(frozen=True)
class Context:
    """A context's tokens, including beginning of text, and the lengths at which it may be cut."""

    ids: list[int]
    ends: list[int]
    """Lengths in tokens at which it may be cut, ascending: first without any history, last whole."""

    def within(self, room: int) -> list[int] | None:
        """The tokens, without the oldest history beyond `room` tokens; None if they do not fit even without history."""
        fitting = bisect_right(self.ends, room)
        if fitting == len(self.ends):
            return self.ids
        return self.ids[: self.ends[fitting - 1]] if fitting else None


class Tokens:
    """A checkpoint's tokenizer. The constructor raises ContractError if it loses text or splits a label."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        bos = checkpoint.bos_token_id
        self._tokenizer = read_tokenizer(checkpoint.path, checkpoint.vocab_size, [bos])
        self._line_ids = lru_cache(maxsize=_LINES_KEPT)(self._encode)
        self._bos = [bos]
        self.form = LABELS[checkpoint.labels]
        """How its prompts label options."""
        self.labels = label_ids(self._tokenizer, checkpoint.path, checkpoint.labels)
        """Token ids of the labels, the first option's first."""
        self.special_ids = {id_ for id_, token in self._tokenizer.get_added_tokens_decoder().items() if token.special}

    def ids(self, text: str) -> list[int]:
        """The token ids of a text of whole lines (the last may lack its line break), without beginning of text."""
        return [token for line in _LINE.findall(text) for token in self._line_ids(line)]

    def text(self, ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def ends_of_line(self) -> set[int]:
        """The tokens that end a line: those that contain a line break, and the special ones."""
        ids = sorted(self._tokenizer.get_vocab(with_added_tokens=True).values())
        texts = self._tokenizer.decode_batch([[each] for each in ids])
        return self.special_ids | {each for each, text in zip(ids, texts, strict=True) if "\n" in text}

    def context(self, text: str) -> Context:
        """Tokenize a context. Its last lines are the history, latest first."""
        lines = _LINE.findall(text)
        kept = history_begins(lines)
        line_ids = [self._line_ids(line) for line in lines]
        lengths = list(accumulate(map(len, line_ids), initial=len(self._bos)))
        return Context(self._bos + [token for ids in line_ids for token in ids], lengths[kept:])

    def choice(self, text: str) -> list[int]:
        """The token ids of a choice as tables have it, with the model's labels."""
        return self.ids(self.form.put_in(text))

    def option_ends(self, text: str) -> list[int]:
        """The places of the last token of each option's line in a prompt that ends with `choice(text)`, from its end:
        -1 is the prompt's last token.
        """
        ends = list(accumulate(len(self._line_ids(line)) for line in _LINE.findall(self.form.put_in(text))))
        return [ends[line] - ends[-1] - 1 for line in option_lines(_LINE.findall(text))]

    def _encode(self, line: str) -> array[int]:
        return array("i", self._tokenizer.encode(line, add_special_tokens=False).ids)
