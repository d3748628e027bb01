"""Scores one shard of a night: the buckets b of `user_contexts` with b % shards = shard, each written to
`artwork_scores` in one commit. A bucket's row in `scoring_runs` comes last, so its existence means that the scores are
whole; run again, the command skips the buckets that have one for the very same pairs, and gives the same tables
(`marquee score`).
"""

from __future__ import annotations

import logging
import resource
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake.exceptions import CommitFailedError

from inference.ahead import WriteBehind, read_ahead
from inference.asking import Asked, Asking
from inference.checkpoint import Checkpoint, read_checkpoint
from inference.engine import Engine, StartEngine, max_model_len
from inference.prior import read_prior
from inference.progress import ScoringProgress
from inference.questions import Choices, fingerprint, questions, read_choices
from inference.results import COUNTED, Bucket, Results
from inference.tokens import Tokens
from inference.warehouse import ScoringTables
from schemas.contract import ContractError
from schemas.events import report_counts
from schemas.settings import Settings
from schemas.tables import ARTWORK_SCORES, NIGHT_STEPS, REJECTED_ROWS, SCORING_RUNS, USER_CONTEXTS

log = logging.getLogger("marquee.score")

_ROWS_PER_BATCH = 2048
_BATCHES_BEHIND = 4
# Groups of at most 64 questions: with prompts of 400 tokens, some 15 MB.
_GROUPS_AHEAD = 64
# Another writer in the same partition (an OPTIMIZE, a second run of this shard) makes a bucket's commit fail.
_ROUNDS = 3


class Shard:
    """One shard of one night. `shard` of `shards` counts from 0."""

    def __init__(self, night: ScoringTables, config: Settings, checkpoint: Checkpoint, shard: int, shards: int) -> None:
        self.night, self.config, self.checkpoint = night, config, checkpoint
        self.max_model_len = max_model_len(checkpoint, config)
        self.prior = read_prior(checkpoint.path, checkpoint.quantization)
        self.numbers = range(shard, night.buckets, shards)
        further = (config.further_orders, config.close_margin) if config.further_orders else ()
        self.scored_with = (checkpoint.version, config.dtype, self.max_model_len, *further)
        self.counts: Counter[str] = Counter(
            {**dict.fromkeys(COUNTED, 0), "buckets": len(self.numbers), "buckets_skipped": 0}
        )

    def score(self, start: StartEngine = Engine) -> None:
        """Score the buckets that are not done; one that someone else wrote to meanwhile, once more."""
        todo = self._not_done()
        if not todo:
            log.info("nothing to score: the shard's %d buckets are done", len(self.numbers))
            return
        tokens = Tokens(self.checkpoint)
        choices = read_choices(self.night, tokens)
        pairs = sum(bucket.pairs for bucket in todo)
        if pairs and not choices:
            raise ContractError(f"title_choices has no row for ds={self.night.ds}; run the step contexts first")
        # A night that carries all of yesterday's choices starts no engine.
        engine = start(self.checkpoint, self.config, tokens.labels) if pairs else None
        with ScoringProgress(pairs) as progress:
            for attempt in range(1, _ROUNDS + 1):
                todo = self._score_buckets(todo, choices, tokens, engine, progress, last=attempt == _ROUNDS)
                if not todo:
                    break
        progress.log()

    def _not_done(self) -> list[Bucket]:
        """The shard's buckets without a row in `scoring_runs` for the pairs that they hold now."""
        rows = self.night.rows(SCORING_RUNS, ["bucket", "input_fingerprint"])
        done = {row["bucket"]: row["input_fingerprint"] for row in rows}
        todo = []
        for number in self.numbers:
            contexts = self.night.rows(USER_CONTEXTS, ["user_id", "pairs"], bucket=number)
            pairs, found = fingerprint(contexts, *self.scored_with)
            if done.get(number) == found:
                log.info("bucket %d is done already (%d pairs): skipped", number, pairs)
                self.counts["buckets_skipped"] += 1
            else:
                todo.append(Bucket(number, pairs, found))
        return todo

    def _score_buckets(
        self,
        todo: list[Bucket],
        choices: Choices,
        tokens: Tokens,
        engine: Engine | None,
        progress: ScoringProgress,
        last: bool,
    ) -> list[Bucket]:
        """Score buckets one after the other, reading ahead and writing behind; those to score again are returned."""
        again: list[Bucket] = []
        writing: list[tuple[Bucket, WriteBehind[pa.RecordBatch]]] = []
        with (
            read_ahead(self._read(todo, choices, tokens), _GROUPS_AHEAD) as ahead,
            ThreadPoolExecutor(1, thread_name_prefix="write-behind") as pool,
        ):
            for bucket, groups in groupby(ahead, key=itemgetter(0)):
                # At most one bucket is still being written while the next is scored.
                while len(writing) > 1:
                    again += _written(*writing.pop(0), last)
                results = Results(self.night.ds, bucket, self.checkpoint.version, self.prior, self.config.close_margin)
                writer = WriteBehind(pool, self._writer(results), _BATCHES_BEHIND)
                writing.append((bucket, writer))
                try:
                    asked = chain.from_iterable(group for _, group in groups)
                    for batch in _batches(Asking(asked, results, progress).scores(engine)):
                        writer.put(batch)
                    results.end()
                except BaseException as error:
                    writer.abandon(error)
                    raise
                writer.end()
            for written in writing:
                again += _written(*written, last)
        return again

    def _read(self, todo: list[Bucket], choices: Choices, tokens: Tokens) -> Iterator[tuple[Bucket, list[Asked]]]:
        """The questions of all buckets, one bucket after the other."""
        # One token is generated after the prompt.
        limit = self.max_model_len - 1
        for bucket in todo:
            # A bucket without users is written too: it may hold the scores of an earlier try.
            yield bucket, []
            contexts = self.night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"], bucket=bucket.number)
            for group in questions(contexts, choices, tokens, limit, self.config.further_orders):
                yield bucket, group

    def _writer(self, results: Results) -> Any:
        """What the writing thread does with a bucket's batches; when they have ended, `results` are whole."""

        def write(batches: Iterator[pa.RecordBatch]) -> None:
            night, number = self.night, results.bucket.number
            # A row for other pairs must not outlive the scores that it vouches for.
            night.replace_rows(SCORING_RUNS, [], bucket=number)
            night.replace(ARTWORK_SCORES, batches, bucket=number)
            night.replace_rows(REJECTED_ROWS, results.rejected_rows(), step="score", bucket=number)
            night.replace_rows(SCORING_RUNS, [results.run_row()], bucket=number)
            self.counts.update(results.counts)

        return write


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    schema = ARTWORK_SCORES.arrow_schema()
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_PER_BATCH:
            yield pa.RecordBatch.from_pylist(batch, schema=schema)
            batch = []
    if batch:
        yield pa.RecordBatch.from_pylist(batch, schema=schema)


def _written(bucket: Bucket, writer: WriteBehind[pa.RecordBatch], last: bool) -> list[Bucket]:
    """Wait until a bucket is written; it is returned if another writer was faster and it may be tried again."""
    try:
        writer.wait()
    except CommitFailedError as error:
        if last:
            raise
        log.warning("bucket %d: someone else wrote to it, so it is scored again (%s)", bucket.number, error)
        return [bucket]
    return []


def score_shard(
    ds: date,
    shard: int,
    shards: int,
    config: Settings,
    model: Path | None = None,
    into: str | None = None,
    start: StartEngine = Engine,
) -> dict[str, int]:
    """Score a shard and keep what it took in `night_steps`; returns the counts.

    `model` is a checkpoint to score with instead of the night's own, in the quantization that is set.
    """
    began = time.monotonic()
    night = ScoringTables(config.warehouse, ds, into)
    checkpoint = read_checkpoint(model).quantized(config.quantization) if model else night.model()
    work = Shard(night, config, checkpoint, shard, shards)
    night.create_missing()
    work.score(start)
    seconds = time.monotonic() - began
    counts = {**work.counts, "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    step = f"score_{shard}"
    row = {"ds": ds, "step": step, "seconds": seconds, "counts": list(counts.items())}
    night.replace_rows(NIGHT_STEPS, [row], step=step)
    report_counts(step, seconds, counts)
    return counts
