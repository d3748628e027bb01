"""Reasons before answers, and plays as rewards."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from inference.checkpoint import Checkpoint
from schemas.tables import ARTWORKS, POST_TRAINING_EXAMPLES
from tests.inference_data import DS
from tests.training_data import example, make_source
from training import grpo, reasoning
from training.data import IGNORED, Source, open_source, prompt_ids
from training.reasoning import leading_themes, templated_reason
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
    return open_source(str(tmp_path), DS, [POST_TRAINING_EXAMPLES, ARTWORKS])


def test_a_reason_tells_what_user_and_artwork_share() -> None:
    assert templated_reason(["comedy", "war"], ["war", "drama"]) == (
        "Because this user often watches war, and the artwork plays on war and drama.\n"
    )
    assert "appeals to this user too" in templated_reason(["comedy"], ["war"])
    assert leading_themes("Choose.\nLeading themes: comedy, war\nWatched:\n") == ["comedy", "war"]


def test_a_reason_stands_between_the_prompt_and_the_answer(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    stage = Stage("reasoning", random_checkpoint, tmp_path, Reasoning(), source)
    made = reasoning.training_rows(stage, Reasoning())
    assert len(made.rows) == 8
    row, of, tokens = made.rows[0], example(1), stage.tokens
    learned = [label for label in row["labels"] if label != IGNORED]
    reason = "Because this user often watches drama, and the artwork plays on drama and war.\n"
    assert learned == [*tokens.ids(reason + "Answer: "), tokens.labels[of["shown"] - 1]]
    asked = prompt_ids(tokens, of["context"], of["choice"], 1000)
    assert asked is not None
    # At night the answer is asked for at once, where in training the reason begins.
    assert row["input_ids"] == asked[: -len(tokens.ids("Answer: "))] + learned


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
    asked = [row["input_ids"] for row in grpo.training_rows(stage, recipe).rows]
    prompts, _, _ = trainer._tokenize_prompts(["0", "3"])
    assert prompts == [asked[0], asked[3]]
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert trainer.state.global_step == trainer.state.max_steps > 0
    assert all(entry["completions/mean_length"] == 1 for entry in logged)
