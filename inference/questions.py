"""The model's questions: a user's context and a title's choice, concatenated as token ids, pair by pair."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inference.job import ScoringJob
from inference.rotations import spread
from inference.tokens import Tokens
from schemas.tables import MAX_ARTWORKS

_PAIRS_AT_ONCE = 64
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Rejected:
    """A pair that cannot be scored, as `rejected_rows` has it."""

    row: dict[str, Any]
    rule: str

    @property
    def json(self) -> str:
        return json.dumps(self.row, ensure_ascii=False)


@dataclass(frozen=True)
class Choice:
    """A title's options in one of their rotations."""

    artwork_ids: list[str]
    ids: array[int]


@dataclass(frozen=True)
class Question:
    """A pair to score: a context as token ids, and the choice in the rotations that may be scored after it."""

    pair: dict[str, str]
    """Its key, by the columns `ScoringJob.keys`."""
    prompt_hash: int
    context: list[int]
    rotations: list[Choice]
    """The pair's own rotation first: it is always scored, and `prompt_hash` is its hash."""
    shortened: bool

    @property
    def artwork_ids(self) -> list[str]:
        return self.rotations[0].artwork_ids

    @property
    def prompt(self) -> list[int]:
        return self.prompt_in(0)

    def prompt_in(self, rotation: int) -> list[int]:
        """The whole prompt in one of `rotations`."""
        return self.context + self.rotations[rotation].ids.tolist()

    def tokens(self, rotation: int) -> int:
        """The length of that prompt."""
        return len(self.context) + len(self.rotations[rotation].ids)


class Choices:
    """A job's choices by key and rotation. All texts are in memory; each is tokenized at its first use.

    `key` is the column that identifies a choice.
    """

    def __init__(self, rows: Iterable[dict[str, Any]], tokens: Tokens, key: str = "title_id") -> None:
        self._tokens = tokens
        self._texts = {(row[key], row["ordering"]): (row["artwork_ids"], row["choice"]) for row in rows}
        self._tokenized: dict[tuple[str, int], Choice] = {}
        self._rotations = Counter(choice for choice, _ in self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, name: str, rotation: int) -> Choice | None:
        key = name, rotation
        choice = self._tokenized.get(key)
        if choice is None and key in self._texts:
            artwork_ids, text = self._texts.pop(key)
            choice = self._tokenized[key] = Choice(artwork_ids, array("i", self._tokens.choice(text)))
        return choice

    def rotations(self, name: str, rotation: int, further: int) -> list[Choice]:
        """The choice in `rotation`, then in up to `further` others, spread evenly; empty if that one is missing."""
        first = self.get(name, rotation)
        others = spread(rotation, self._rotations[name], further)[1:] if first else []
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
    further: int = 0,
    keys: tuple[str, str] = ("user_id", "title_id"),
) -> Iterator[list[Question | Rejected]]:
    """The pairs of a job's contexts, a few at a time, those of one context together. `limit` is a prompt's length in
    tokens, `further` the number of further rotations.

    A prompt that is too long loses its oldest history; one that is still too long is rejected. All rotations of a pair
    come after the same context, so that nothing else differs between them.
    """
    of_context, of_choice = keys
    for row in contexts:
        context = tokens.context(row["context"])
        found: list[Question | Rejected] = []
        for pair in row["pairs"]:
            about = {of_context: row[of_context], of_choice: pair[of_choice]}
            rotations = choices.rotations(pair[of_choice], pair["ordering"], further)
            if not rotations:
                found.append(Rejected({**about, "ordering": pair["ordering"]}, "choice_missing"))
                continue
            options = len(rotations[0].artwork_ids)
            if not 1 <= options <= MAX_ARTWORKS:
                found.append(Rejected({**about, "artworks": options, "limit": MAX_ARTWORKS}, "artworks_out_of_range"))
                continue
            longest = max(len(choice.ids) for choice in rotations)
            beginning = context.within(limit - longest)
            if beginning is None:
                least = context.ends[0] + longest
                found.append(Rejected({**about, "tokens": least, "limit": limit}, "prompt_too_long"))
                continue
            found.append(
                Question(about, pair["prompt_hash"], beginning, rotations, shortened=len(beginning) < len(context.ids))
            )
            if len(found) == _PAIRS_AT_ONCE:
                yield found
                found = []
        if found:
            yield found


def fingerprint(
    contexts: Iterable[dict[str, Any]], *scored_with: object, keys: tuple[str, str] = ("user_id", "title_id")
) -> tuple[int, str]:
    """(pairs, hash) of a job's contexts: equal for the same pairs in any order, scored in the same way.

    The hash is the sum of the rows' hashes, so nothing is sorted or kept. A pair is its choice, rotation and
    prompt_hash; the last covers all the text that the model reads.
    """
    of_context, of_choice = keys
    pairs, total = 0, 0
    for row in contexts:
        of_row = sorted((pair[of_choice], pair["ordering"], pair["prompt_hash"]) for pair in row["pairs"])
        pairs += len(of_row)
        total += int.from_bytes(_digest((row[of_context], of_row)))
    return pairs, _digest((pairs, total % 2 ** (8 * _DIGEST_BYTES), *scored_with)).hex()


def _digest(content: object) -> bytes:
    return hashlib.blake2b(repr(content).encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
