"""Training on reasons before answers, and on plays as rewards."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from inference.checkpoint import Checkpoint
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.tables import ARTWORKS, POST_TRAINING_EXAMPLES, TEACHER_REASONS
from tests.inference_data import DS, append, context
from tests.training_data import example, make_source
from training import grpo, reasoning
from training.data import IGNORED, Source, Tokenized, open_source, prompt_ids
from training.reasoning import templated_reason
from training.settings import Grpo, Reasoning
from training.stage import Stage, begin


@pytest.fixture
def source(tmp_path: Path) -> Source:
    make_source(tmp_path, [example(number, played=number % 3 > 0) for number in range(12)])
    artworks = [
        {
            "artwork_id": f"a{place}",
            "title_id": "t1",
            "caption": "x",
            "themes": ["drama", "war"],
            "is_default": False,
            "active_from": DS,
        }
        for place in range(4)
    ]
    write_deltalake(str(tmp_path / ARTWORKS.name), pa.Table.from_pylist(artworks, schema=ARTWORKS.arrow_schema()))
    return open_source(str(tmp_path), DS, [POST_TRAINING_EXAMPLES, ARTWORKS, TEACHER_REASONS])


def test_a_reason_names_what_user_and_artwork_share() -> None:
    assert templated_reason(["comedy", "war"], ["war", "drama"]) == (
        "Because this user often watches war, and the artwork plays on war and drama.\n"
    )
    assert "appeals to this user too" in templated_reason(["comedy"], ["war"])


def training_rows(base: Checkpoint, source: Source, recipe: Reasoning) -> tuple[Tokenized, Stage]:
    stage = Stage("reasoning", base, Path("nowhere"), recipe, source)
    return reasoning.training_rows(stage, recipe), stage


def test_a_reason_stands_between_the_prompt_and_the_answer(random_checkpoint: Checkpoint, source: Source) -> None:
    made, stage = training_rows(random_checkpoint, source, Reasoning(reason_tokens=100))
    assert len(made.rows) == 8
    row, of, tokens = made.rows[0], example(1), stage.tokens
    learned = [label for label in row["labels"] if label != IGNORED]
    reason = "Because this user often watches drama, and the artwork plays on drama and war.\n"
    assert learned == [*tokens.ids(reason + "Answer: "), tokens.labels[of["shown"] - 1]]
    prompt = prompt_ids(tokens, of["context"], of["choice"], 1000)
    assert prompt is not None
    # In scoring the answer follows at once; in training the reason begins there.
    assert row["input_ids"] == prompt[: -len(tokens.ids("Answer: "))] + learned


def with_reasons(source: Source, reasons: dict[int, str], model_version: str = "teacher@1") -> Source:
    """The source, with a teacher's reasons for the examples of these numbers."""
    key = ("ds", "user_id", "title_id", "shown_at")
    rows = [
        {**{column: example(number)[column] for column in key}, "model_version": model_version, "reason": reason}
        for number, reason in reasons.items()
    ]
    place = f"{source.warehouse}/{TEACHER_REASONS.name}"
    batch = pa.Table.from_pylist(rows, schema=TEACHER_REASONS.arrow_schema())
    write_deltalake(place, batch, mode="append", partition_by=list(TEACHER_REASONS.partitioned_by))
    return open_source(source.warehouse, DS, [POST_TRAINING_EXAMPLES, ARTWORKS, TEACHER_REASONS])


def test_a_teachers_reasons_are_learned_where_there_are_any(
    random_checkpoint: Checkpoint, source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    with_reasons(source, {2: "Because another said so."}, "other@1")
    source = with_reasons(source, {1: "Because of war.", 4: "Because of sea.", 5: "Because of " + "war " * 100})
    made, stage = training_rows(random_checkpoint, source, Reasoning(teacher="teacher@1", reason_tokens=40))
    found = [tuple(label for label in row["labels"] if label != IGNORED) for row in made.rows]
    tokens = stage.tokens
    assert found == [
        (*tokens.ids(f"{reason}\nAnswer: "), tokens.labels[example(number)["shown"] - 1])
        for number, reason in [(1, "Because of war."), (4, "Because of sea.")]
    ]
    # Eight plays, three of them with a reason, one of which is too long.
    assert "left out 5 plays without a reason, 1 of over 40 tokens" in capsys.readouterr().out


def test_a_teacher_without_reasons_is_an_error_with_the_command_to_run(
    random_checkpoint: Checkpoint, source: Source
) -> None:
    command = r"no reasons of teacher@1 for ds=2026-01-05; run `marquee train reasons --ds 2026-01-05 --model"
    recipe = Reasoning(teacher="teacher@1")
    with pytest.raises(ContractError, match=command):
        training_rows(random_checkpoint, source, recipe)
    source = with_reasons(source, {1: "Because of war."}, "other@1")
    with pytest.raises(ContractError, match=command):
        training_rows(random_checkpoint, source, recipe)


def test_the_longest_prompt_with_its_reason_and_answer_fits_the_model(
    random_checkpoint: Checkpoint, source: Source
) -> None:
    history = (f"Film {number} of the long night (1999): drama" for number in range(60))
    append(Path(source.warehouse), POST_TRAINING_EXAMPLES, [example(20, context=context("war", *history))])
    reason = "Because of war."
    source = with_reasons(source, {20: reason})
    most = len(Tokens(random_checkpoint).ids(reason + "\n"))
    made, _ = training_rows(random_checkpoint, source, Reasoning(teacher="teacher@1", reason_tokens=most))
    (row,) = made.rows
    assert random_checkpoint.max_model_len - 30 < len(row["input_ids"]) <= random_checkpoint.max_model_len


@pytest.mark.slow
def test_only_the_play_is_rewarded() -> None:
    pytest.importorskip("trl")
    from training.rewards import play_reward

    assert play_reward([[5], [6], [5, 1]], [5, 5, 5], [2.0, 2.0, 0.5]) == [2.0, 0.0, 0.5]


@pytest.mark.slow
def test_grpo_draws_answers_to_the_scorers_prompts(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    recipe = Grpo(group=4, batch=8, rank=4, alpha=8, learning_rate=1e-2)
    stage = Stage("grpo", random_checkpoint, tmp_path / "grpo", recipe, source)
    begin(stage)
    trainer = grpo.train(stage, recipe)
    questions = [row["input_ids"] for row in grpo.training_rows(stage, recipe).rows]
    prompts, _, _ = trainer._tokenize_prompts(["0", "3"])
    assert prompts == [questions[0], questions[3]]
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert trainer.state.global_step == trainer.state.max_steps > 0
    assert all(entry["completions/mean_length"] == 1 for entry in logged)


def test_reasons_that_are_all_too_long_are_refused(random_checkpoint: Checkpoint, source: Source) -> None:
    with pytest.raises(ContractError, match=r"nothing to learn from: .* 8 of over 1 tokens, .*--reason-tokens"):
        training_rows(random_checkpoint, source, Reasoning(reason_tokens=1))


def test_grpo_refuses_settings_that_make_no_step() -> None:
    recipe = Grpo(batch=32, group=8)
    grpo.check_batch(recipe, questions=4)
    with pytest.raises(ContractError, match=r"3 plays to learn from are fewer than the 4 of one step .*--batch"):
        grpo.check_batch(recipe, questions=3)
    with pytest.raises(ContractError, match=r"--batch 30 times --accumulate 1 is 30 answers .*--group 8"):
        grpo.check_batch(Grpo(batch=30, group=8), questions=100)
