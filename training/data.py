"""Examples as token ids, by the tokenizer and the concatenation that scoring uses.

A prompt is [beginning of text] + ids(context) + ids(choice); its answer is one token, the option's label. A prompt
that is too long loses its oldest history, as in scoring; nothing else is ever cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from inference.tokens import Tokens
from schemas.contract import ContractError, Table
from schemas.store import arrow_dataset, has_files, has_table, open_table, path_of, rows
from schemas.tables import ARTWORKS, IMPRESSIONS, POST_TRAINING_EXAMPLES, PREFERENCE_PAIRS

if TYPE_CHECKING:
    from datasets import Dataset

EXAMPLE = IMPRESSIONS.key
"""The columns that identify an example."""
_BATCH_ROWS = 4096
_POOL = 16  # number of batches that are sorted by length together
IGNORED = -100
"""The label of a token that carries no loss."""


@dataclass(frozen=True)
class Source:
    """The post-training tables of one day at noted Delta versions, so that a resumed run reads the same rows."""

    warehouse: str
    ds: date
    versions: dict[str, int]
    table_ids: dict[str, str]
    """A table that was dropped and made anew has another id and other rows, though it may have the same version."""

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """The setting `signals` with which the examples' texts were written."""
        first = next(self.rows(POST_TRAINING_EXAMPLES, ["signals"]), {"signals": ()})
        return tuple(first["signals"])

    def rows(self, table: Table, columns: list[str], wanted: pc.Expression | None = None) -> Iterator[dict[str, Any]]:
        """The day's rows of a table, or all rows of a table without `ds`."""
        dataset = arrow_dataset(self.opened(table), table)
        if missing := set(columns) - set(dataset.schema.names):
            raise ContractError(
                f"{table.name}: an earlier version of Marquee made it, without {', '.join(sorted(missing))}; run "
                "the step examples again"
            )
        if "ds" in table.column_names:
            today = pc.field("ds") == self.ds
            wanted = today if wanted is None else today & wanted
        try:
            for batch in dataset.to_batches(columns=columns, filter=wanted, batch_size=_BATCH_ROWS):
                yield from batch.to_pylist()
        except FileNotFoundError as error:
            raise ContractError(
                f"{table.name}: files of its version {self.versions[table.name]} were removed (VACUUM) since this run "
                "began; give another --out, which begins a new run"
            ) from error

    def opened(self, table: Table) -> DeltaTable:
        """The table at its noted version. Raises ContractError if that can no longer be read."""
        found = open_table(self.warehouse, table, self.versions[table.name])
        if str(found.metadata().id) != self.table_ids[table.name]:
            raise ContractError(
                f"{table.name}: the table at {path_of(found)} was dropped and made anew since this run began; give "
                "another --out, which begins a new run"
            )
        return found

    def training(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        """Training examples, always in the same order for the same table."""
        return self.rows(POST_TRAINING_EXAMPLES, columns, pc.field("split") == "training")


def open_source(
    warehouse: str, ds: date, tables: Iterable[Table] = (POST_TRAINING_EXAMPLES, PREFERENCE_PAIRS)
) -> Source:
    """The tables at their present versions, without missing optional tables.

    Raises ContractError if another table is missing or has no rows for `ds`.
    """
    versions, table_ids = {}, {}
    for table in tables:
        if table.optional and not has_table(warehouse, table):
            continue
        opened = open_table(warehouse, table, remedy="run the step examples first")
        # A day with few plays has examples but no pairs, for which `preference_rows` has a better message.
        needed = "ds" in table.column_names and not table.optional and table is not PREFERENCE_PAIRS
        if needed and not has_files(opened, ds=ds):
            raise ContractError(f"{table.name}: no rows for ds={ds}; run the step examples for that day first")
        versions[table.name], table_ids[table.name] = int(opened.version()), str(opened.metadata().id)
    return Source(warehouse, ds, versions, table_ids)


def prompt_ids(tokens: Tokens, context: str, choice: str, limit: int) -> list[int] | None:
    """The prompt as in scoring, in at most `limit` tokens; None if it is longer even without history."""
    choice_ids = tokens.choice(choice)
    beginning = tokens.context(context).within(limit - len(choice_ids))
    return None if beginning is None else beginning + choice_ids


@dataclass(frozen=True)
class Tokenized:
    """Rows for a trainer. `too_long` is the number of prompts left out because they are too long to score."""

    rows: Dataset
    too_long: int
    longest: int


def tokenized(
    examples: Iterable[dict[str, Any]],
    tokens: Tokens,
    limit: int,
    schema: pa.Schema,
    finish: Callable[[dict[str, Any], list[int]], dict[str, Any]],
) -> Tokenized:
    """`finish(example, prompt ids)` of every example, as rows of `schema`. `limit` is a prompt's length in tokens.

    Raises ContractError if no example is left.
    """
    from datasets import Dataset

    batches, batch, too_long, longest = [], [], 0, 0
    for example in examples:
        prompt = prompt_ids(tokens, example["context"], example["choice"], limit)
        if prompt is None:
            too_long += 1
            continue
        longest = max(longest, len(prompt))
        batch.append(finish(example, prompt))
        if len(batch) == _BATCH_ROWS:
            batches.append(pa.RecordBatch.from_pylist(batch, schema=schema))
            batch = []
    batches.append(pa.RecordBatch.from_pylist(batch, schema=schema))
    table = pa.Table.from_batches(batches, schema=schema)
    if table.num_rows == 0:
        raise ContractError(
            f"{POST_TRAINING_EXAMPLES.name}: nothing to learn from: "
            + (
                f"all {too_long:,} prompts have more than {limit:,} tokens even without history; use a --base that "
                "reads longer ones"
                if too_long
                else "the training split has no play (night_steps has the counts of the step examples); log more "
                "impressions, or hold out fewer users (MARQUEE_HELD_OUT_SHARE), and run examples again"
            )
        )
    return Tokenized(Dataset(table), too_long, longest)


def arranged(rows: Dataset, column: str, batch: int, seed: int) -> Dataset:
    """`rows` in training order: shuffled batches of rows with similar length (of `column`).

    This needs little padding. transformers' own `group_by_length` sorts 50 batches at a time from long to short: first
    all steps with many options, then all with few, and a small model drifts back and forth.
    """
    rng = np.random.default_rng(seed)
    lengths = pc.list_value_length(rows.data.column(column)).to_numpy()
    order = rng.permutation(len(rows))
    pools = [order[start : start + batch * _POOL] for start in range(0, len(order), batch * _POOL)]
    by_length = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    # Only the last batch may be smaller, so it stays the last.
    whole = len(rows) // batch
    batches = [by_length[place * batch : (place + 1) * batch] for place in rng.permutation(whole)]
    return rows.select(np.concatenate([*batches, by_length[whole * batch :]]))


ANSWER_SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("weight", pa.float32()),
        ("played", pa.float32()),
    ]
)
PAIR_SCHEMA = pa.schema(
    [
        ("prompt_ids", pa.list_(pa.int32())),
        ("chosen_ids", pa.list_(pa.int32())),
        ("rejected_ids", pa.list_(pa.int32())),
        ("weights", pa.list_(pa.float32())),
    ]
)


def answer_row(tokens: Tokens) -> Callable[[dict[str, Any], list[int]], dict[str, Any]]:
    """Makes rows of prompt and answer, with loss on the answer's single token only."""

    def row(example: dict[str, Any], prompt: list[int]) -> dict[str, Any]:
        answer = tokens.labels[example["shown"] - 1]
        return {
            "input_ids": [*prompt, answer],
            "labels": [IGNORED] * len(prompt) + [answer],
            "weight": example["weight"],
            "played": float(example["played"]),
        }

    return row


def preference_row(tokens: Tokens) -> Callable[[dict[str, Any], list[int]], dict[str, Any]]:
    """Makes rows of a prompt, the chosen token, and the rejected tokens with their weights."""

    def row(example: dict[str, Any], prompt: list[int]) -> dict[str, Any]:
        return {
            "prompt_ids": prompt,
            "chosen_ids": [tokens.labels[example["chosen"] - 1]],
            "rejected_ids": [tokens.labels[number - 1] for number in example["rejected"]],
            "weights": example["weights"],
        }

    return row


def catalogue_themes(source: Source) -> dict[str, list[str]]:
    """The themes of each artwork."""
    artworks = rows("SELECT artwork_id, themes FROM artworks", artworks=source.opened(ARTWORKS))
    return {row["artwork_id"]: row["themes"] or [] for row in artworks}


def preference_rows(
    source: Source, negatives: tuple[str, ...], propensity_clip: float, limit: int = 0
) -> Iterator[dict[str, Any]]:
    """Each example that has preference pairs of the kinds `negatives`: context, choice, chosen, and the rejected
    options of all its pairs with their weights. At most `limit` examples; 0 for all.

    A weight is the pair's own, with an example's kinds counting alike, times `counts_of_play`, divided by the mean sum
    per example. An example has less weight the more of its unplayed impressions showed the chosen artwork itself
    (spark_jobs/preferences.py). Raises ContractError, before the first row, if there are no such pairs or if the
    example of a pair is missing.
    """
    wanted = pc.field("negative").isin(list(negatives))
    pairs: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for pair in source.rows(PREFERENCE_PAIRS, [*EXAMPLE, "chosen", "rejected", "negative", "weight"], wanted):
        pairs.setdefault(key_of(pair), []).append(pair)
    if not pairs:
        raise ContractError(
            f"{PREFERENCE_PAIRS.name}: no pairs of {' or '.join(negatives)} for ds={source.ds}; give other --negatives "
            "or another --ds: a pair needs a title with one artwork that was played and another shown and not played"
        )
    propensities = _propensities(source, pairs.keys())
    scales = {
        key: counts_of_play(propensities[key], propensity_clip) / len({pair["negative"] for pair in found})
        for key, found in pairs.items()
    }
    mean = sum(scales[key] * pair["weight"] for key, found in pairs.items() for pair in found) / len(pairs)
    having = (row for row in source.training([*EXAMPLE, "context", "choice"]) if key_of(row) in pairs)
    for example in islice(having, limit or None):
        key = key_of(example)
        found = pairs.pop(key)
        weights: Counter[int] = Counter()
        for pair in found:
            weights[pair["rejected"]] += pair["weight"] * scales[key] / mean
        rejected = sorted(weights)
        yield {
            "context": example["context"],
            "choice": example["choice"],
            "chosen": found[0]["chosen"],
            "rejected": rejected,
            "weights": [weights[number] for number in rejected],
        }


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """The values of the columns EXAMPLE."""
    return tuple(row[column] for column in EXAMPLE)


def counts_of_play(propensity: float, clip: float) -> float:
    """The weight of a play: min(1 / propensity, clip), or 1 if clip is 0."""
    return min(1 / propensity, clip) if clip else 1.0


def relative_weights(rows: Sequence[Mapping[str, Any]], propensity_clip: float) -> list[float]:
    """The weight of each row: `counts_of_play` of its propensity, divided by the mean over the rows."""
    weights = [counts_of_play(row["propensity"], propensity_clip) for row in rows]
    mean = sum(weights) / max(1, len(weights))
    return [weight / mean for weight in weights]


def _propensities(source: Source, keys: Collection[tuple[Any, ...]]) -> dict[tuple[Any, ...], float]:
    """The propensity of each of the training examples `keys`, read without texts, which is cheap.

    Raises ContractError if some examples are missing.
    """
    found = {key_of(row): row["propensity"] for row in source.training([*EXAMPLE, "propensity"]) if key_of(row) in keys}
    if missing := len(keys) - len(found):
        raise ContractError(
            f"{PREFERENCE_PAIRS.name}: pairs of {missing:,} examples that are not in "
            f"{POST_TRAINING_EXAMPLES.name}; run the step examples again, which writes both"
        )
    return found
