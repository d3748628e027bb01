"""Scoring a shard with a real vLLM engine and a random Llama."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from inference.checkpoint import Checkpoint, read_checkpoint, write_manifest
from inference.engine import Answer, Engine, EngineError, Prompt, Refusal
from inference.job import ScoringJob
from inference.questions import Choices, Question, Rejected, fingerprint, questions
from inference.results import softmax
from inference.score import score_shard
from inference.tokens import Tokens
from schemas.contract import ContractError, Table
from schemas.exit_codes import REFUSED
from schemas.tables import ARTWORK_SCORES, NIGHT_STEPS, REJECTED_ROWS, SCORING_RUNS, USER_CONTEXTS
from tests.conftest import RunMarquee
from tests.inference_data import (
    DS,
    choice,
    choice_row,
    context,
    context_row,
    make_night,
    no_engine,
    running,
    settings_for,
    stored,
)

OPTIONS = {"two": 2, "five": 5, "forty": 40}
# A context of about 1,100 tokens, more than the model's 1,024.
LONG = context("drama", *(f"Film {number} of the long night (1999): drama" for number in range(60)))


def contexts() -> list[dict[str, Any]]:
    return [
        context_row(f"user {number}", number % 2, context("drama", *(f"Film {n}" for n in range(number))), OPTIONS)
        for number in range(12)
    ]


@pytest.fixture
def night(tmp_path: Path, random_checkpoint: Checkpoint) -> Path:
    """Two buckets of six users with three pairs each."""
    warehouse = tmp_path / "warehouse"
    make_night(
        warehouse, random_checkpoint, contexts(), [choice_row(title, options) for title, options in OPTIONS.items()]
    )
    return warehouse


@pytest.fixture
def score_night(night: Path, engine: Engine) -> Any:
    """Scores the night with the engine that all tests share."""
    shared = running(engine)
    return lambda shard=0, shards=1, start=shared: score_shard(
        ScoringJob(str(night), DS), settings_for(night), shard, shards, start=start
    )


def scores(night: Path) -> list[dict[str, Any]]:
    return stored(night, ARTWORK_SCORES, "user_id", "title_id")


def expected_logprobs(checkpoint: Checkpoint, tokens: Tokens, prompt: list[int], options: int) -> list[float]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1]
    return [float(torch.log_softmax(logits, -1)[label]) for label in tokens.labels[:options]]


def test_probabilities_are_those_of_transformers(night: Path, score_night: Any, random_checkpoint: Checkpoint) -> None:
    score_night()
    tokens = Tokens(random_checkpoint)
    rows = {(row["user_id"], row["title_id"]): row for row in scores(night)}
    for title, options in OPTIONS.items():
        prompt = tokens.context(contexts()[11]["context"]).ids + tokens.ids(choice(f"{title} 0", options))
        row = rows["user 11", title]
        assert row["artwork_ids"] == [f"{title}-a{number}" for number in range(options)]
        assert row["probabilities"] == pytest.approx(
            softmax(expected_logprobs(random_checkpoint, tokens, prompt, options)), abs=1e-5
        )
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-12)
        # The model must not answer all alike, or the sequence of options would not matter.
        assert len(set(row["probabilities"])) == options


def test_a_model_that_the_night_did_not_note_scores_into_another_warehouse(
    night: Path, tmp_path: Path, score_night: Any, random_checkpoint: Checkpoint, engine: Engine
) -> None:
    start = running(engine)
    elsewhere = tmp_path / "elsewhere"
    copy = read_checkpoint(shutil.copytree(random_checkpoint.path, tmp_path / "copy"))

    def score_copy() -> dict[str, int]:
        # A job keeps reading the versions of its first reads.
        job = ScoringJob(str(night), DS, str(elsewhere))
        return score_shard(job, settings_for(night), model=copy, start=start)

    score_copy()
    assert scores(night) == stored(night, SCORING_RUNS, "bucket") == stored(night, NIGHT_STEPS, "step") == []
    assert score_copy()["buckets_skipped"] == 2
    score_night()
    assert scores(elsewhere) == scores(night) != []


def test_every_pair_that_goes_in_comes_out(night: Path, score_night: Any, random_checkpoint: Checkpoint) -> None:
    counts = score_night()
    wanted = {(row["user_id"], pair["title_id"], pair["prompt_hash"]) for row in contexts() for pair in row["pairs"]}
    found = scores(night)
    assert {(row["user_id"], row["title_id"], row["prompt_hash"]) for row in found} == wanted
    assert len(found) == len(wanted) == counts["pairs"] == 36
    assert {row["model_version"] for row in found} == {random_checkpoint.version}
    runs = stored(night, SCORING_RUNS, "bucket")
    assert [(run["bucket"], run["pairs"], run["rejected"], run["shortened"]) for run in runs] == [
        (0, 18, 0, 0),
        (1, 18, 0, 0),
    ]
    assert all(0 < run["label_mass"] < 1 for run in runs)
    assert sum(run["prompt_tokens"] for run in runs) == counts["prompt_tokens"]
    (step,) = stored(night, NIGHT_STEPS, "step")
    assert step["step"] == "score_0"
    assert dict(step["counts"]) == counts


def test_a_second_run_skips_what_is_done(night: Path, score_night: Any, caplog: pytest.LogCaptureFixture) -> None:
    score_night()
    before = scores(night), stored(night, SCORING_RUNS, "bucket")
    with caplog.at_level("INFO", logger="marquee.score"):
        assert score_night(start=no_engine)["buckets_skipped"] == 2
    assert "bucket 1 is done already (18 pairs)" in caplog.text
    assert (scores(night), stored(night, SCORING_RUNS, "bucket")) == before


def test_a_bucket_whose_run_row_never_came_is_scored_to_the_same_bits(night: Path, score_night: Any) -> None:
    """As after a kill between the two commits."""
    score_night()
    before = scores(night)
    runs = [run for run in stored(night, SCORING_RUNS, "bucket") if run["bucket"] == 0]
    write_deltalake(str(night / SCORING_RUNS.name), _batch(SCORING_RUNS, runs), mode="overwrite")
    counts = score_night()
    assert (counts["buckets_skipped"], counts["pairs"]) == (1, 18)
    assert scores(night) == before
    assert len(stored(night, SCORING_RUNS, "bucket")) == 2


def test_shards_share_the_buckets_between_them(night: Path, score_night: Any) -> None:
    assert score_night(shard=1, shards=2)["pairs"] == 18
    assert {row["bucket"] for row in scores(night)} == {1}
    assert score_night(shard=0, shards=2)["pairs"] == 18
    assert len(scores(night)) == 36
    assert score_night(shard=2, shards=3)["buckets"] == 0


def test_other_pairs_replace_the_scores_of_a_bucket(night: Path, score_night: Any) -> None:
    score_night()
    rows = [context_row("user 1", 1, context("drama"), ["two"])]
    write_deltalake(str(night / USER_CONTEXTS.name), _batch(USER_CONTEXTS, rows), mode="overwrite")
    score_night()
    assert [(row["user_id"], row["title_id"]) for row in scores(night)] == [("user 1", "two")]
    assert [run["pairs"] for run in stored(night, SCORING_RUNS, "bucket")] == [0, 1]


def test_a_prompt_that_is_too_long_loses_its_oldest_history_or_is_rejected(
    tmp_path: Path, random_checkpoint: Checkpoint, engine: Engine
) -> None:
    start = running(engine)
    endless = choice_row("endless", 40)
    endless["choice"] = choice("endless " * 20, 40)
    users = [
        context_row("long", 0, LONG, ["two", "endless", "unknown"]),
        context_row("short", 0, context("drama"), ["two"]),
    ]
    make_night(tmp_path, random_checkpoint, users, [choice_row("two", 2), endless], buckets=1)
    counts = score_shard(ScoringJob(str(tmp_path), DS), settings_for(tmp_path), start=start)
    assert (counts["pairs"], counts["shortened"], counts["rejected"]) == (2, 1, 2)
    assert [row["user_id"] for row in scores(tmp_path)] == ["long", "short"]
    too_long, unknown = sorted(stored(tmp_path, REJECTED_ROWS), key=lambda row: row["rule"], reverse=True)
    assert (too_long["step"], too_long["bucket"], too_long["source_table"]) == ("score", 0, "user_contexts")
    assert too_long["rule"] == "prompt_too_long"
    row = json.loads(too_long["row"])
    assert (row["user_id"], row["title_id"], row["limit"]) == ("long", "endless", 1023)
    assert row["tokens"] > 1023
    assert (unknown["rule"], json.loads(unknown["row"])["title_id"]) == ("choice_missing", "unknown")
    # The shortened prompt equals the prompt of a shorter history.
    tokens = Tokens(random_checkpoint)
    choice_ids = tokens.ids(choice("two 0", 2))
    kept = tokens.context(LONG).within(1023 - len(choice_ids)) or []
    assert 1023 - 30 < len(kept) + len(choice_ids) <= 1023
    assert scores(tmp_path)[0]["probabilities"] == pytest.approx(
        softmax(expected_logprobs(random_checkpoint, tokens, kept + choice_ids, 2)), abs=1e-5
    )
    # Rejected rows of an earlier try are replaced.
    write_deltalake(str(tmp_path / USER_CONTEXTS.name), _batch(USER_CONTEXTS, users[1:]), mode="overwrite")
    score_shard(ScoringJob(str(tmp_path), DS), settings_for(tmp_path), start=start)
    assert stored(tmp_path, REJECTED_ROWS) == []


def test_a_users_context_is_computed_once(random_checkpoint: Checkpoint, engine: Engine) -> None:
    tokens = Tokens(random_checkpoint)
    text = context("drama", *(f"Film {number} (1999): drama, comedy" for number in range(12)))
    prompts = [tokens.context(text).ids + tokens.ids(choice(f"title {number}", 3)) for number in range(20)]
    answers = dict(engine.answers(Prompt(number, prompt, 3) for number, prompt in enumerate(prompts)))
    cached = [answer.cached_tokens for answer in answers.values() if isinstance(answer, Answer)]
    # Whole blocks of 32 tokens of the common beginning, in all prompts but the first.
    shared = len(tokens.context(text).ids) // 32 * 32
    assert sum(cached) >= 19 * shared > 0


def test_a_first_prompt_overtakes_those_waiting_and_the_rest_keep_their_order(engine: Engine) -> None:
    # A step holds 16 of them.
    prompts = [Prompt(number, [0, 5 + number], 2, first=number == 25) for number in range(30)]
    given = [number for number, _ in engine.answers(prompts)]
    assert given.index(25) < 16
    given.remove(25)
    assert given == sorted(given)


def test_one_bad_request_does_not_end_the_others(engine: Engine) -> None:
    prompts = [("good", [0, 5, 6], 2), ("empty", [], 2), ("long", [5] * 1100, 2), ("best", [0, 7], 3)]
    answers = dict(engine.answers(Prompt(*each) for each in prompts))
    scored = {key: len(answer.logprobs) for key, answer in answers.items() if isinstance(answer, Answer)}
    refused = {key: answer.reason for key, answer in answers.items() if isinstance(answer, Refusal)}
    assert scored == {"good": 2, "best": 3}
    assert "cannot be empty" in refused["empty"]
    assert "1100" in refused["long"]


def test_the_death_of_the_engine_is_an_error_and_leaves_no_half_bucket(
    night: Path, score_night: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = engine._engine.step, iter(range(1000))

    def dies() -> Any:
        # After the first bucket, which takes about two steps.
        if next(steps) >= 3:
            raise RuntimeError("out of memory")
        return step()

    monkeypatch.setattr(engine._engine, "step", dies)
    with pytest.raises(EngineError, match="died while scoring: out of memory"):
        score_night()
    done = {run["bucket"] for run in stored(night, SCORING_RUNS, "bucket")}
    assert {row["bucket"] for row in scores(night)} == done
    assert len(scores(night)) == 18 * len(done) < 36
    monkeypatch.undo()
    score_night()
    assert len(scores(night)) == 36


class EqualEngine:
    """Gives every option of every question the same probability."""

    def answers(self, prompts: Iterable[Prompt[Any]]) -> Iterator[tuple[Any, Answer]]:
        for prompt in prompts:
            yield prompt.key, Answer([-math.log(prompt.options)] * prompt.options, 0)


def test_a_bucket_that_another_writer_changed_is_scored_again(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, conflicts = ScoringJob.replace, iter([CommitFailedError("another writer was faster")])

    def first_conflicts(self: ScoringJob, table: Table, batches: Iterable[Any], **partition: object) -> None:
        rows = list(batches)
        if table is ARTWORK_SCORES and (error := next(conflicts, None)):
            raise error
        replace(self, table, rows, **partition)

    monkeypatch.setattr(ScoringJob, "replace", first_conflicts)
    start = running(EqualEngine())
    assert score_shard(ScoringJob(str(night), DS), settings_for(night), start=start)["pairs"] == 36
    assert len(scores(night)) == 36
    assert len(stored(night, SCORING_RUNS, "bucket")) == 2


def test_errors_name_what_is_missing(
    tmp_path: Path, random_checkpoint: Checkpoint, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings_for(tmp_path)
    assert marquee("score", "--ds", "2026-01-05", "--warehouse", str(tmp_path)) == REFUSED
    assert "night_models: there is no Delta table" in capsys.readouterr().err
    make_night(tmp_path, random_checkpoint, contexts(), [])
    with pytest.raises(ContractError, match="title_choices has no row for ds=2026-01-05"):
        score_shard(ScoringJob(str(tmp_path), DS), config)
    with pytest.raises(ContractError, match="MARQUEE_MAX_MODEL_LEN is 4096"):
        score_shard(ScoringJob(str(tmp_path), DS), settings_for(tmp_path, max_model_len=4096))


def test_a_checkpoint_that_changed_since_the_night_began_scores_nothing(
    tmp_path: Path, random_checkpoint: Checkpoint
) -> None:
    noted = Path(shutil.copytree(random_checkpoint.path, tmp_path / "checkpoint"))
    make_night(tmp_path, read_checkpoint(noted), contexts(), [choice_row("two", 2)])
    write_manifest(noted, "another")
    with pytest.raises(ContractError, match=r"the checkpoint is another@.*, but the night of 2026-01-05 began with"):
        score_shard(ScoringJob(str(tmp_path), DS), settings_for(tmp_path))


def test_a_night_with_nothing_to_score_starts_no_engine(tmp_path: Path, random_checkpoint: Checkpoint) -> None:
    start = no_engine
    make_night(tmp_path, random_checkpoint, [], [choice_row("two", 2)])
    assert score_shard(ScoringJob(str(tmp_path), DS), settings_for(tmp_path), start=start)["pairs"] == 0
    assert [run["pairs"] for run in stored(tmp_path, SCORING_RUNS, "bucket")] == [0, 0]
    assert score_shard(ScoringJob(str(tmp_path), DS), settings_for(tmp_path), start=start)["buckets_skipped"] == 2


def test_a_fingerprint_does_not_depend_on_row_order() -> None:
    rows = contexts()
    turned = [{**row, "pairs": row["pairs"][::-1]} for row in rows[::-1]]
    assert fingerprint(rows, "a model") == fingerprint(turned, "a model")
    assert fingerprint(rows, "a model")[0] == 36
    changed = [{**rows[0], "pairs": [{**rows[0]["pairs"][0], "prompt_hash": -1}]}, *rows[1:]]
    # The last user's prompts differ.
    swapped = [{**rows[0], "user_id": rows[-1]["user_id"]}, *rows[1:-1], {**rows[-1], "user_id": rows[0]["user_id"]}]
    hashes = {fingerprint(each, "a model")[1] for each in (rows, changed, swapped, rows[1:], [*rows, rows[0]])}
    assert len({*hashes, fingerprint(rows, "another")[1]}) == 6


def test_questions_keep_a_users_pairs_side_by_side(random_checkpoint: Checkpoint) -> None:
    tokens = Tokens(random_checkpoint)
    choices = Choices([choice_row(title, options) for title, options in OPTIONS.items()], tokens)
    items = [item for group in questions(contexts(), choices, tokens, 1023) for item in group]
    assert [tuple(item.pair.values()) for item in items if isinstance(item, Question)] == [
        (row["user_id"], pair["title_id"]) for row in contexts() for pair in row["pairs"]
    ]
    none = list(questions(contexts()[:1], Choices([], tokens), tokens, 1023))
    assert all(isinstance(item, Rejected) for group in none for item in group)


def test_softmax_sums_to_one() -> None:
    assert softmax([-1000.0, -1000.0]) == [0.5, 0.5]
    assert math.fsum(softmax([-0.1, -3.0, -80.0])) == pytest.approx(1, abs=1e-15)
    # Only over the options, whatever the probability of the rest of the vocabulary.
    assert softmax([math.log(0.02), math.log(0.06)]) == pytest.approx([0.25, 0.75])


def _batch(table: Any, rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema())
