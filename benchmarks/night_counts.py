"""What a night that has run tells of the cost of a larger one: tokens and bytes, by user and by pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.cached_share import EndlessCache
from inference.questions import Choices, Question, questions, read_choices
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.contract import ContractError, Table
from schemas.store import open_table, rows
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    VIEWING_HISTORY,
    WANTED_PAIRS,
)


@dataclass(frozen=True)
class TokenCounts:
    """Of the pairs that the night asked. A context's remainder is what stands after its last whole block."""

    users: int
    pairs: int
    context: float
    """Mean tokens of a user's context, beginning of text included."""
    choice: float
    """Mean tokens of a pair's choice."""
    remainder: float
    """Mean tokens of a context's remainder: no cache has them, so every pair computes them."""
    computed: int
    """Tokens to compute with a cache that never forgets, in the night's order of questions."""
    asked_share: float
    """Share of the published pairs that a model decided; the others had one artwork, or a user who explores."""


@dataclass(frozen=True)
class ByteCounts:
    """Compressed bytes on disk, of columns alone: what files add (footers, statistics) shrinks as they grow."""

    context_user: float
    context_pair: float
    wanted_pair: float
    score: float
    selection: float
    logged: float
    prompt: float
    """Bytes of one prompt as text, not compressed: what a table of prompts would hold a pair."""


def token_counts(night: Night, tokens: Tokens, limit: int, block_size: int) -> TokenCounts:
    """Count the night's prompts as scoring would ask them. Raises ContractError where it asked none."""
    choices = read_choices(night, tokens)
    context_lengths: dict[str, int] = {}
    prompt_tokens = computed = pairs = 0
    for number in range(night.buckets):
        cache = EndlessCache(block_size)
        for context, question in _asked(night, number, choices, tokens, limit):
            context_lengths[question.user_id] = context
            pairs += 1
            prompt_tokens += len(question.prompt)
            computed += len(question.prompt) - cache.ask(question.prompt)
    if not pairs:
        raise ContractError(f"{night.warehouse}: user_contexts has no pair for ds={night.ds}; name a night that scored")
    of_pairs = sum(context_lengths[user] * count for user, count in _pairs_by_user(night).items())
    return TokenCounts(
        users=len(context_lengths),
        pairs=pairs,
        context=sum(context_lengths.values()) / len(context_lengths),
        choice=(prompt_tokens - of_pairs) / pairs,
        remainder=sum(length % block_size for length in context_lengths.values()) / len(context_lengths),
        computed=computed,
        asked_share=_asked_share(night.warehouse),
    )


def watched_share(night: Night) -> float:
    """Share of the wanted users who watched something on the night's day, and so had a new context."""
    found = rows(
        "SELECT (SELECT count(DISTINCT user_id) FROM history WHERE watch_date = "
        f"DATE '{night.ds}') AS watched, (SELECT count(*) FROM wanted WHERE ds = DATE '{night.ds}') AS users",
        history=open_table(night.warehouse, VIEWING_HISTORY),
        wanted=open_table(night.warehouse, WANTED_PAIRS),
    )[0]
    return float(found["watched"] / found["users"])


def byte_counts(night: Night) -> ByteCounts:
    """Bytes by user and by pair of the night's own tables."""
    users = pairs = 0
    text = 0
    choices = {
        (row["title_id"], row["ordering"]): len(row["choice"].encode())
        for row in night.rows(TITLE_CHOICES, ["title_id", "ordering", "choice"])
    }
    for row in night.rows(USER_CONTEXTS, ["context", "pairs"]):
        users += 1
        pairs += len(row["pairs"])
        text += sum(len(row["context"].encode()) + choices[pair["title_id"], pair["ordering"]] for pair in row["pairs"])
    of_pairs, of_users = _bytes(night, USER_CONTEXTS, "pairs.")
    wanted, _ = _bytes(night, WANTED_PAIRS, "title_ids.")
    titles = sum(len(row["title_ids"]) for row in night.rows(WANTED_PAIRS, ["title_ids"]))
    return ByteCounts(
        context_user=of_users / users,
        context_pair=of_pairs / pairs,
        wanted_pair=wanted / titles,
        score=_bytes_a_row(night, ARTWORK_SCORES),
        selection=_bytes_a_row(night, ARTWORK_SELECTIONS),
        logged=_bytes_a_row(night, ARTWORK_SELECTION_LOG),
        prompt=text / pairs,
    )


def _asked(night: Night, number: int, choices: Choices, tokens: Tokens, limit: int) -> Iterator[tuple[int, Question]]:
    """Each question of a bucket, with the tokens of its user's context."""
    for row in night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"], bucket=number):
        length = len(tokens.context(row["context"]).ids)
        for group in questions([row], choices, tokens, limit):
            for each in group:
                if isinstance(each, Question):
                    yield length, each


def _pairs_by_user(night: Night) -> dict[str, int]:
    return {row["user_id"]: len(row["pairs"]) for row in night.rows(USER_CONTEXTS, ["user_id", "pairs"])}


def _asked_share(warehouse: str) -> float:
    found = rows(
        "SELECT count(*) AS pairs, sum(CASE WHEN source = 'model' THEN 1 ELSE 0 END) AS asked FROM selections",
        selections=open_table(warehouse, ARTWORK_SELECTIONS),
    )[0]
    return float(found["asked"] / found["pairs"])


def _files(night: Night, table: Table) -> Iterator[Any]:
    """The Parquet metadata of the table's files, of this night where it is partitioned by ds."""
    opened = open_table(night.warehouse, table)
    only = [("ds", "=", str(night.ds))] if "ds" in table.partitioned_by else None
    for uri in opened.file_uris(file_pruning_predicate=only):
        yield pq.read_metadata(Path(uri.removeprefix("file://")))


def _bytes(night: Night, table: Table, beginning: str) -> tuple[int, int]:
    """Compressed bytes of the columns whose path begins so, and of the others."""
    found = [0, 0]
    for file in _files(night, table):
        for group in range(file.num_row_groups):
            for number in range(file.num_columns):
                column = file.row_group(group).column(number)
                found[not column.path_in_schema.startswith(beginning)] += column.total_compressed_size
    return found[0], found[1]


def _bytes_a_row(night: Night, table: Table) -> float:
    stored: int = sum(file.num_rows for file in _files(night, table))
    return sum(_bytes(night, table, "")) / stored
