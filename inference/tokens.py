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

from tokenizers import Tokenizer

from inference.checkpoint import Checkpoint
from schemas.contract import ContractError
from schemas.tables import MAX_ARTWORKS
from schemas.words import ANSWER, VIEWING

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
    """A checkpoint's tokenizer. Making one checks that the option numbers are single tokens."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        file = checkpoint.path / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ContractError(f"{file}: not a tokenizer that can be read ({error})") from error
        # Text from catalogues never becomes a special token.
        self._tokenizer.encode_special_tokens = True
        self._check_vocabulary(checkpoint)
        self._line_ids = lru_cache(maxsize=_LINES_KEPT)(self._encode)
        self._bos = [] if checkpoint.bos_token_id is None else [checkpoint.bos_token_id]
        self.labels = self._number_ids()
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
        """A context, ready to be fitted. Its last lines that begin as viewings do are the history, latest first."""
        lines = _LINE.findall(text)
        kept = len(lines)
        while kept and lines[kept - 1].startswith(VIEWING):
            kept -= 1
        line_ids = [self._line_ids(line) for line in lines]
        lengths = list(accumulate(map(len, line_ids), initial=len(self._bos)))
        return Context(self._bos + [token for ids in line_ids for token in ids], lengths[kept:])

    def _encode(self, line: str) -> array[int]:
        return array("i", self._tokenizer.encode(line, add_special_tokens=False).ids)

    def _check_vocabulary(self, checkpoint: Checkpoint) -> None:
        size = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        if size > checkpoint.vocab_size:
            raise ContractError(
                f"{checkpoint.path}: the tokenizer has {size} tokens, the model only {checkpoint.vocab_size} "
                "(vocab_size in config.json): they do not belong together"
            )

    def _number_ids(self) -> list[int]:
        """Each number must stand as one token after `Answer: `: one token is all that the model is asked for."""
        before = self._encode(ANSWER).tolist()
        labels = []
        for number in map(str, range(1, MAX_ARTWORKS + 1)):
            alone, after = self._encode(number).tolist(), self._encode(ANSWER + number).tolist()
            if len(alone) != 1 or after != before + alone:
                raise ContractError(
                    f"option number {number} is not a single token after {ANSWER!r} in this tokenizer: "
                    f"{ANSWER + number!r} is {after}, {ANSWER!r} is {before}; use one in which the numbers up to "
                    f"{MAX_ARTWORKS} are, as in Llama 3's"
                )
            labels.append(alone[0])
        return labels
