"""What the model is asked: a user's context and a title's choice, put together as token ids, pair by pair."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inference.orders import spread
from inference.tokens import Tokens
from inference.warehouse import ScoringTables
from schemas.tables import MAX_ARTWORKS, TITLE_CHOICES

_PAIRS_AT_ONCE = 64
_DIGEST_BYTES = 16


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


@dataclass(frozen=True)
class Question:
    """A pair to be scored: a context as token ids, and the choice in the orders in which it may be asked after it."""

    user_id: str
    title_id: str
    prompt_hash: int
    context: list[int]
    orders: list[Choice]
    """The pair's own order first: the one that is always asked, and that `prompt_hash` is of."""
    shortened: bool

    @property
    def artwork_ids(self) -> list[str]:
        return self.orders[0].artwork_ids

    @property
    def prompt(self) -> list[int]:
        return self.prompt_in(0)

    def prompt_in(self, order: int) -> list[int]:
        """The whole prompt in one of `orders`."""
        return self.context + self.orders[order].ids.tolist()

    def tokens(self, order: int) -> int:
        """The length of that prompt."""
        return len(self.context) + len(self.orders[order].ids)


class Choices:
    """Tonight's choices by (title_id, ordering): all texts are in memory, each tokenized when first asked for."""

    def __init__(self, rows: Iterable[dict[str, Any]], tokens: Tokens) -> None:
        self._tokens = tokens
        self._texts = {(row["title_id"], row["ordering"]): (row["artwork_ids"], row["choice"]) for row in rows}
        self._tokenized: dict[tuple[str, int], Choice] = {}
        self._orderings = Counter(title_id for title_id, _ in self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, title_id: str, ordering: int) -> Choice | None:
        key = title_id, ordering
        choice = self._tokenized.get(key)
        if choice is None and key in self._texts:
            artwork_ids, text = self._texts.pop(key)
            choice = self._tokenized[key] = Choice(artwork_ids, array("i", self._tokens.ids(text)))
        return choice

    def orders(self, title_id: str, ordering: int, further: int) -> list[Choice]:
        """The choice in `ordering` first, then in up to `further` others, spread evenly; none where that one is not
        there.
        """
        first = self.get(title_id, ordering)
        others = spread(ordering, self._orderings[title_id], further)[1:] if first else []
        return [choice for choice in (first, *(self.get(title_id, other) for other in others)) if choice]


def read_choices(night: ScoringTables, tokens: Tokens) -> Choices:
    """The night's `title_choices`."""
    return Choices(night.rows(TITLE_CHOICES, ["title_id", "ordering", "artwork_ids", "choice"]), tokens)


def questions(
    contexts: Iterable[dict[str, Any]], choices: Choices, tokens: Tokens, limit: int, further_orders: int = 0
) -> Iterator[list[Question | Rejected]]:
    """The pairs of rows of `user_contexts`, a user's side by side, a few at a time. `limit` is in tokens of a prompt.

    Too long a prompt loses its oldest history; one that even so is too long is rejected. All orders of a pair come
    after the same context, so that nothing else differs between them.
    """
    for row in contexts:
        context = tokens.context(row["context"])
        asked: list[Question | Rejected] = []
        for pair in row["pairs"]:
            about = {"user_id": row["user_id"], "title_id": pair["title_id"]}
            orders = choices.orders(pair["title_id"], pair["ordering"], further_orders)
            if not orders:
                asked.append(Rejected({**about, "ordering": pair["ordering"]}, "choice_missing"))
                continue
            options = len(orders[0].artwork_ids)
            if not 1 <= options <= MAX_ARTWORKS:
                asked.append(Rejected({**about, "artworks": options, "limit": MAX_ARTWORKS}, "artworks_out_of_range"))
                continue
            longest = max(len(choice.ids) for choice in orders)
            beginning = context.within(limit - longest)
            if beginning is None:
                least = context.ends[0] + longest
                asked.append(Rejected({**about, "tokens": least, "limit": limit}, "prompt_too_long"))
                continue
            asked.append(
                Question(
                    row["user_id"],
                    pair["title_id"],
                    pair["prompt_hash"],
                    beginning,
                    orders,
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
