"""What the model is asked: a user's context and a title's choice, put together as token ids, pair by pair."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inference.job import ScoringJob
from inference.orders import spread
from inference.tokens import Tokens
from schemas.tables import MAX_ARTWORKS

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

    pair: dict[str, str]
    """What names it, by the columns `ScoringJob.keys`."""
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
    """A job's choices by their key and ordering: all texts are in memory, each tokenized when first asked for.

    `key` is the column that names a choice.
    """

    def __init__(self, rows: Iterable[dict[str, Any]], tokens: Tokens, key: str = "title_id") -> None:
        self._tokens = tokens
        self._texts = {(row[key], row["ordering"]): (row["artwork_ids"], row["choice"]) for row in rows}
        self._tokenized: dict[tuple[str, int], Choice] = {}
        self._orderings = Counter(choice for choice, _ in self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, name: str, ordering: int) -> Choice | None:
        key = name, ordering
        choice = self._tokenized.get(key)
        if choice is None and key in self._texts:
            artwork_ids, text = self._texts.pop(key)
            choice = self._tokenized[key] = Choice(artwork_ids, array("i", self._tokens.ids(text)))
        return choice

    def orders(self, name: str, ordering: int, further: int) -> list[Choice]:
        """The choice in `ordering` first, then in up to `further` others, spread evenly; none where that one is not
        there.
        """
        first = self.get(name, ordering)
        others = spread(ordering, self._orderings[name], further)[1:] if first else []
        return [choice for choice in (first, *(self.get(name, other) for other in others)) if choice]


def read_choices(job: ScoringJob, tokens: Tokens) -> Choices:
    """All choices of a job."""
    key = job.keys[1]
    return Choices(job.rows(job.choices, [key, "ordering", "artwork_ids", "choice"]), tokens, key)


def questions(
    contexts: Iterable[dict[str, Any]],
    choices: Choices,
    tokens: Tokens,
    limit: int,
    further_orders: int = 0,
    keys: tuple[str, str] = ("user_id", "title_id"),
) -> Iterator[list[Question | Rejected]]:
    """The pairs of a job's contexts, those of one side by side, a few at a time. `limit` is in tokens of a prompt.

    Too long a prompt loses its oldest history; one that even so is too long is rejected. All orders of a pair come
    after the same context, so that nothing else differs between them.
    """
    of_context, of_choice = keys
    for row in contexts:
        context = tokens.context(row["context"])
        asked: list[Question | Rejected] = []
        for pair in row["pairs"]:
            about = {of_context: row[of_context], of_choice: pair[of_choice]}
            orders = choices.orders(pair[of_choice], pair["ordering"], further_orders)
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
                Question(about, pair["prompt_hash"], beginning, orders, shortened=len(beginning) < len(context.ids))
            )
            if len(asked) == _PAIRS_AT_ONCE:
                yield asked
                asked = []
        if asked:
            yield asked


def fingerprint(
    contexts: Iterable[dict[str, Any]], *scored_with: object, keys: tuple[str, str] = ("user_id", "title_id")
) -> tuple[int, str]:
    """(pairs, hash) of a job's contexts: equal for the same pairs, in whatever order, scored in the same way.

    The hash of all is the sum of the hashes of each row, so nothing is sorted or kept. A pair is its choice, ordering
    and prompt_hash; the last stands for every text that the model reads.
    """
    of_context, of_choice = keys
    pairs, total = 0, 0
    for row in contexts:
        asked = sorted((pair[of_choice], pair["ordering"], pair["prompt_hash"]) for pair in row["pairs"])
        pairs += len(asked)
        total += int.from_bytes(_digest((row[of_context], asked)))
    return pairs, _digest((pairs, total % 2 ** (8 * _DIGEST_BYTES), *scored_with)).hex()


def _digest(content: object) -> bytes:
    return hashlib.blake2b(repr(content).encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
