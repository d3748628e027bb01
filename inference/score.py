"""Scores one shard of a job (`marquee score`): the buckets b of its contexts with b % shards = shard, each written to
the scores in one commit. A bucket's row in the job's runs is written last, so its existence means that the scores are
whole. A rerun skips the buckets that have such a row for the same pairs, and gives the same tables.
"""

from __future__ import annotations

import logging
import resource
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
from deltalake.exceptions import CommitFailedError

from inference.ahead import WriteBehind, read_ahead
from inference.bucket_scorer import BucketScorer, Item
from inference.checkpoint import Checkpoint
from inference.engine import Engine, StartEngine, max_model_len
from inference.job import ScoringJob
from inference.prior import read_prior
from inference.progress import ScoringProgress
from inference.questions import Choices, fingerprint, questions, read_choices
from inference.results import COUNTED, Bucket, Results
from inference.tokens import Tokens
from schemas.contract import ContractError, Table
from schemas.settings import Settings
from schemas.steps import noted_step
from schemas.tables import REJECTED_ROWS

log = logging.getLogger("marquee.score")

_ROWS_PER_BATCH = 2048
_BATCHES_BEHIND = 4
# Groups of at most 64 questions: with prompts of 400 tokens, some 15 MB.
_GROUPS_AHEAD = 64
# Tries per bucket: another writer in its partition (an OPTIMIZE, a second run of this shard) makes its commit fail.
_ROUNDS = 3


class Shard:
    """One shard of one job. `shard` of `shards` counts from 0."""

    def __init__(self, job: ScoringJob, config: Settings, checkpoint: Checkpoint, shard: int, shards: int) -> None:
        self.job, self.config, self.checkpoint = job, config, checkpoint
        self.max_model_len = max_model_len(checkpoint, config)
        self.prior = read_prior(checkpoint.path, checkpoint.quantization)
        self.numbers = range(shard, job.buckets, shards)
        further = (config.further_orders, config.close_margin) if config.further_orders else ()
        self.scored_with = (checkpoint.version, config.dtype, self.max_model_len, *further)
        self.counts: Counter[str] = Counter(
            {**dict.fromkeys(COUNTED, 0), "buckets": len(self.numbers), "buckets_skipped": 0}
        )

    def score(self, start: StartEngine = Engine) -> None:
        """Score the unfinished buckets, and those again that another writer changed meanwhile."""
        todo = self._not_done()
        if not todo:
            log.info("nothing to score: the shard's %d buckets are done", len(self.numbers))
            return
        tokens = Tokens(self.checkpoint)
        choices = read_choices(self.job, tokens)
        pairs = sum(bucket.pairs for bucket in todo)
        if pairs and not choices:
            name, ds, step = self.job.choices.name, self.job.ds, self.job.written_by
            raise ContractError(f"{name} has no row for ds={ds}; run the step {step} first")
        # A night that carries over all of yesterday's choices starts no engine.
        engine = start(self.checkpoint, self.config, tokens.labels) if pairs else None
        with ScoringProgress(pairs) as progress:
            for attempt in range(1, _ROUNDS + 1):
                todo = self._score_buckets(todo, choices, tokens, engine, progress, last=attempt == _ROUNDS)
                if not todo:
                    break
        progress.log()

    def _not_done(self) -> list[Bucket]:
        """The shard's buckets without a row in the job's runs for their present pairs."""
        rows = self.job.rows(self.job.runs, ["bucket", "input_fingerprint"])
        done = {row["bucket"]: row["input_fingerprint"] for row in rows}
        todo = []
        for number in self.numbers:
            contexts = self.job.rows(self.job.contexts, [self.job.keys[0], "pairs"], bucket=number)
            pairs, found = fingerprint(contexts, *self.scored_with, keys=self.job.keys)
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
        """Score buckets one after the other, reading ahead and writing behind; return those to score again."""
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
                version = self.job.model_version or self.checkpoint.version
                results = Results(self.job, bucket, version, self.prior, self.config.close_margin)
                writer = WriteBehind(pool, self._writer(results), _BATCHES_BEHIND)
                writing.append((bucket, writer))
                try:
                    items = chain.from_iterable(group for _, group in groups)
                    for batch in _batches(self.job.scores, BucketScorer(items, results, progress).scores(engine)):
                        writer.put(batch)
                    results.end()
                except BaseException as error:
                    writer.abandon(error)
                    raise
                writer.end()
            for written in writing:
                again += _written(*written, last)
        return again

    def _read(self, todo: list[Bucket], choices: Choices, tokens: Tokens) -> Iterator[tuple[Bucket, list[Item]]]:
        """The questions of all buckets, one bucket after the other."""
        # One token is generated after the prompt.
        limit, keys = self.max_model_len - 1, self.job.keys
        for bucket in todo:
            # A bucket without users is written too: it may contain the scores of an earlier try.
            yield bucket, []
            contexts = self.job.rows(self.job.contexts, [keys[0], "context", "pairs"], bucket=bucket.number)
            for group in questions(contexts, choices, tokens, limit, self.config.further_orders, keys):
                yield bucket, group

    def _writer(self, results: Results) -> Any:
        """The function with which the writing thread writes a bucket's batches; `results` are whole when they end."""

        def write(batches: Iterator[pa.RecordBatch]) -> None:
            job, number = self.job, results.bucket.number
            # A run's row must not outlive the scores that it describes.
            job.replace_rows(job.runs, [], bucket=number)
            job.replace(job.scores, batches, bucket=number)
            job.replace_rows(REJECTED_ROWS, results.rejected_rows(), step=job.step, bucket=number)
            job.replace_rows(job.runs, [results.run_row()], bucket=number)
            self.counts.update(results.counts)

        return write


def _batches(table: Table, rows: Iterator[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    schema = table.arrow_schema()
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_PER_BATCH:
            yield pa.RecordBatch.from_pylist(batch, schema=schema)
            batch = []
    if batch:
        yield pa.RecordBatch.from_pylist(batch, schema=schema)


def _written(bucket: Bucket, writer: WriteBehind[pa.RecordBatch], last: bool) -> list[Bucket]:
    """Wait until a bucket is written; return it if another writer was faster and a try is left."""
    try:
        writer.wait()
    except CommitFailedError as error:
        if last:
            raise
        log.warning("bucket %d: another writer changed it, so it is scored again (%s)", bucket.number, error)
        return [bucket]
    return []


def score_shard(
    job: ScoringJob,
    config: Settings,
    shard: int = 0,
    shards: int = 1,
    model: Checkpoint | None = None,
    start: StartEngine = Engine,
) -> dict[str, int]:
    """Score a shard of a job, by default all of it; write counts and seconds to the job's steps and return the counts.

    `model` scores instead of the model that the night noted.
    """
    job.create_missing()
    with noted_step(job.into or job.warehouse, job.steps, job.ds, job.shard_name(shard)) as counts:
        work = Shard(job, config, model or job.noted_model(), shard, shards)
        work.score(start)
        counts.update(work.counts, peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    return counts
