"""What the model is asked: a user's context and a title's choice, put together as token ids, pair by pair."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inference.tokens import Tokens
from schemas.tables import MAX_ARTWORKS

_PAIRS_AT_ONCE = 64
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Question:
    """A pair to be scored, with the whole prompt as token ids."""

    user_id: str
    title_id: str
    artwork_ids: list[str]
    prompt_hash: int
    prompt: list[int]
    shortened: bool


@dataclass(frozen=True)
class Rejected:
    """A pair that cannot be scored, as `rejected_rows` keeps it."""

    row: dict[str, Any]
    rule: str

    @property
    def json(self) -> str:
        return json.dumps(self.row, ensure_ascii=False)


@dataclass(frozen=True)
class Choice:
    """A title's options in one of their orderings."""

    artwork_ids: list[str]
    ids: array[int]


class Choices:
    """Tonight's choices by (title_id, ordering): all texts are in memory, each tokenized when first asked for."""

    def __init__(self, rows: Iterable[dict[str, Any]], tokens: Tokens) -> None:
        self._tokens = tokens
        self._texts = {(row["title_id"], row["ordering"]): (row["artwork_ids"], row["choice"]) for row in rows}
        self._tokenized: dict[tuple[str, int], Choice] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, title_id: str, ordering: int) -> Choice | None:
        key = title_id, ordering
        choice = self._tokenized.get(key)
        if choice is None and key in self._texts:
            artwork_ids, text = self._texts.pop(key)
            choice = self._tokenized[key] = Choice(artwork_ids, array("i", self._tokens.ids(text)))
        return choice


def questions(
    contexts: Iterable[dict[str, Any]], choices: Choices, tokens: Tokens, limit: int
) -> Iterator[list[Question | Rejected]]:
    """The pairs of rows of `user_contexts`, a user's side by side, a few at a time. `limit` is in tokens of a prompt.

    Too long a prompt loses its oldest history; one that even so is too long is rejected.
    """
    for row in contexts:
        context = tokens.context(row["context"])
        asked: list[Question | Rejected] = []
        for pair in row["pairs"]:
            about = {"user_id": row["user_id"], "title_id": pair["title_id"]}
            choice = choices.get(pair["title_id"], pair["ordering"])
            if choice is None:
                asked.append(Rejected({**about, "ordering": pair["ordering"]}, "choice_missing"))
                continue
            options = len(choice.artwork_ids)
            if not 1 <= options <= MAX_ARTWORKS:
                asked.append(Rejected({**about, "artworks": options, "limit": MAX_ARTWORKS}, "artworks_out_of_range"))
                continue
            beginning = context.within(limit - len(choice.ids))
            if beginning is None:
                least = context.ends[0] + len(choice.ids)
                asked.append(Rejected({**about, "tokens": least, "limit": limit}, "prompt_too_long"))
                continue
            asked.append(
                Question(
                    row["user_id"],
                    pair["title_id"],
                    choice.artwork_ids,
                    pair["prompt_hash"],
                    beginning + choice.ids.tolist(),
                    shortened=len(beginning) < len(context.ids),
                )
            )
            if len(asked) == _PAIRS_AT_ONCE:
                yield asked
                asked = []
        if asked:
            yield asked


def fingerprint(contexts: Iterable[dict[str, Any]], *scored_with: object) -> tuple[int, str]:
    """(pairs, hash) of rows of `user_contexts`: equal for the same pairs, in whatever order, scored in the same way.

    The hash of all is the sum of the hashes of each user, so nothing is sorted or kept. A pair is its title, ordering
    and prompt_hash; the last stands for every text that the model reads.
    """
    pairs, total = 0, 0
    for row in contexts:
        asked = sorted((pair["title_id"], pair["ordering"], pair["prompt_hash"]) for pair in row["pairs"])
        pairs += len(asked)
        total += int.from_bytes(_digest((row["user_id"], asked)))
    return pairs, _digest((pairs, total % 2 ** (8 * _DIGEST_BYTES), *scored_with)).hex()


def _digest(content: object) -> bytes:
    return hashlib.blake2b(repr(content).encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
