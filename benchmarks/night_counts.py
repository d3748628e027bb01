"""Tokens and bytes per user and per pair of a night that has run or was made up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

import pyarrow.parquet as pq

from inference.job import ScoringJob
from inference.questions import Question, questions, read_choices
from inference.tokens import Tokens
from schemas.contract import ContractError, Table
from schemas.store import open_table
from schemas.tables import ARTWORK_SCORES, ARTWORK_SELECTION_LOG, ARTWORK_SELECTIONS, USER_CONTEXTS, WANTED_PAIRS


@dataclass(frozen=True)
class TokenCounts:
    """The prompts of a night's pairs, each scored once.

    `context` and `remainder` are means over users: tokens, and tokens after the last whole block, which no cache has.
    `choice` is a mean over pairs. `shared_tokens` are the prompt tokens that a prefix cache finds if it forgets no
    context: the contexts' whole blocks, for all pairs of a user but one.
    """

    users: int
    pairs: int
    context: float
    choice: float
    remainder: float
    prompt_tokens: int
    shared_tokens: int


def token_counts(night: ScoringJob, tokens: Tokens, limit: int, block_size: int) -> TokenCounts:
    """Count the prompts as scoring makes them. Raises ContractError if there are none."""
    choices = read_choices(night, tokens)
    users = night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"])
    contexts: dict[str, int] = {}
    pairs: Counter[str] = Counter()
    choice_tokens = context_tokens = 0
    for asked in chain.from_iterable(questions(users, choices, tokens, limit)):
        if isinstance(asked, Question):
            user = asked.pair["user_id"]
            contexts[user] = len(asked.context)
            pairs[user] += 1
            context_tokens += len(asked.context)
            choice_tokens += len(asked.prompt) - len(asked.context)
    if not pairs:
        raise ContractError(f"{night.warehouse}: user_contexts has no pair for ds={night.ds}; name a night that scored")
    remainders = {user: length % block_size for user, length in contexts.items()}
    return TokenCounts(
        users=len(contexts),
        pairs=pairs.total(),
        context=sum(contexts.values()) / len(contexts),
        choice=choice_tokens / pairs.total(),
        remainder=sum(remainders.values()) / len(contexts),
        prompt_tokens=context_tokens + choice_tokens,
        shared_tokens=sum((pairs[user] - 1) * (contexts[user] - remainders[user]) for user in contexts),
    )


@dataclass(frozen=True)
class ByteCounts:
    """Compressed bytes of columns, without footers and statistics, whose share shrinks as files grow.

    `asked_share`: pairs that a model scores over pairs wanted.
    """

    asked_share: float
    context_user: float
    context_pair: float
    wanted_pair: float
    score: float
    selection: float
    logged: float


def byte_counts(night: ScoringJob) -> ByteCounts:
    """Bytes per user and per pair of the night's own tables."""
    pairs_of_users = [len(row["pairs"]) for row in night.rows(USER_CONTEXTS, ["pairs"])]
    users, pairs = len(pairs_of_users), sum(pairs_of_users)
    in_contexts, in_wanted = column_bytes(night, USER_CONTEXTS), column_bytes(night, WANTED_PAIRS)
    titles = sum(len(row["title_ids"]) for row in night.rows(WANTED_PAIRS, ["title_ids"]))
    return ByteCounts(
        asked_share=pairs / titles,
        context_user=(in_contexts.total() - in_contexts["pairs"]) / users,
        context_pair=in_contexts["pairs"] / pairs,
        wanted_pair=in_wanted["title_ids"] / titles,
        score=_bytes_per_row(night, ARTWORK_SCORES),
        selection=_bytes_per_row(night, ARTWORK_SELECTIONS),
        logged=_bytes_per_row(night, ARTWORK_SELECTION_LOG),
    )


def column_bytes(night: ScoringJob, table: Table) -> Counter[str]:
    """Compressed bytes by column."""
    found: Counter[str] = Counter()
    for file in _files(night, table):
        for group, number in product(range(file.num_row_groups), range(file.num_columns)):
            column = file.row_group(group).column(number)
            found[column.path_in_schema.partition(".")[0]] += column.total_compressed_size
    return found


def _bytes_per_row(night: ScoringJob, table: Table) -> float:
    return column_bytes(night, table).total() / float(sum(file.num_rows for file in _files(night, table)))


def _files(night: ScoringJob, table: Table) -> list[Any]:
    """The Parquet metadata of the table's files; only this night's if it is partitioned by ds."""
    only = [("ds", "=", str(night.ds))] if "ds" in table.partitioned_by else None
    uris = open_table(night.warehouse, table).file_uris(file_pruning_predicate=only)
    return [pq.read_metadata(uri.removeprefix("file://")) for uri in uris]
