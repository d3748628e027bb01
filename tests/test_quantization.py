"""FP8 makes another model, from its version to its label prior: all that can be tested without a GPU."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.models import version_of
from inference.champion import VERSION_TAG, champion, model_of_tonight
from inference.checkpoint import Checkpoint, read_checkpoint, write_manifest
from inference.engine import Answer, Engine, Prompt, arguments
from inference.held_out import score_held_out
from inference.job import ScoringJob
from inference.prior import PRIOR_FILES
from inference.score import Shard, score_shard
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.settings import Settings, settings
from schemas.tables import ARTWORK_SCORES, HELD_OUT_SCORES
from tests.conftest import RunMarquee
from tests.inference_data import (
    DS,
    choice_row,
    context,
    context_row,
    make_night,
    make_questions,
    running,
    settings_for,
    stored,
)
from tests.test_judge import DS as JUDGED
from tests.test_judge import write_estimate
from tests.training_data import example, make_source
from training.engine_prior import write_prior
from training.judge import judge
from training.registry import Registry


class FirstEngine:
    """Gives the first option of every question e² times the probability of any other."""

    def answers(self, prompts: Iterable[Prompt[Any]]) -> Iterator[tuple[Any, Answer]]:
        for prompt in prompts:
            yield prompt.key, Answer([-1.0, *[-3.0] * (prompt.options - 1)], 0)


@pytest.fixture
def folder(random_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint with the label prior that training measures."""
    made = Path(shutil.copytree(random_checkpoint.path, tmp_path / "checkpoint"))
    (made / PRIOR_FILES["none"]).write_text(json.dumps({"prior": {"2": [0.1, -0.1]}}))
    write_manifest(made, "tests")
    return made


@pytest.fixture
def with_prior(folder: Path) -> Path:
    """The same with a label prior for FP8, which equals the preference of FirstEngine for two options."""
    (folder / PRIOR_FILES["fp8"]).write_text(json.dumps({"prior": {"2": [1.0, -1.0]}}))
    write_manifest(folder, "tests")
    return folder


@pytest.fixture
def fp8(tmp_path: Path, folder: Path) -> Settings:
    return Settings(
        warehouse=str(tmp_path / "warehouse"),
        model=str(folder),
        registry=f"sqlite:///{tmp_path}/registry.db",
        quantization="fp8",
        gate_margin=0.0,
        gate_slices=(),
    )


def questions() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Contexts and choices."""
    rows = [context_row(f"user {number}", number % 2, context("drama"), {"two": 2}) for number in range(4)]
    return rows, [choice_row("two", 2)]


def night_of(checkpoint: Checkpoint, warehouse: Path) -> None:
    make_night(warehouse, checkpoint, *questions())


def test_the_version_says_so_and_no_quantization_changes_nothing(with_prior: Path) -> None:
    plain = read_checkpoint(with_prior)
    assert plain.quantized("none") == plain
    assert plain.quantized("fp8").version == f"{plain.version}+fp8"
    assert plain.quantized("fp8").path == plain.path


def test_a_label_prior_of_another_number_type_is_not_taken(folder: Path, fp8: Settings) -> None:
    with pytest.raises(ContractError, match=r"label_prior\.fp8\.json: the file is missing, .* `MARQUEE_QUANTIZATION="):
        model_of_tonight(fp8)
    (folder / PRIOR_FILES["none"]).unlink()
    without = write_manifest(folder, "tests")
    assert model_of_tonight(fp8).model.version == f"{without.version}+fp8"


def test_a_night_that_began_in_fp8_scores_in_fp8_with_its_own_prior(with_prior: Path, tmp_path: Path) -> None:
    model = read_checkpoint(with_prior).quantized("fp8")
    night_of(model, tmp_path / "warehouse")
    # Regardless of the settings in the task's own environment.
    config = settings_for(tmp_path / "warehouse")
    assert config.quantization == "none"
    started: list[Checkpoint] = []

    def start(checkpoint: Checkpoint, *_: Any) -> FirstEngine:
        started.append(checkpoint)
        return FirstEngine()

    start_engine: Any = start
    score_shard(ScoringJob(config.warehouse, DS), config, start=start_engine)

    assert [each.quantization for each in started] == ["fp8"]
    rows = stored(tmp_path / "warehouse", ARTWORK_SCORES, "user_id")
    assert {row["model_version"] for row in rows} == {model.version}
    assert [row["probabilities"] for row in rows] == [pytest.approx([0.5, 0.5])] * 4
    # The FP8 scores differ from those of the unquantized model.
    plain = Shard(ScoringJob(config.warehouse, DS, str(tmp_path / "plain")), config, read_checkpoint(with_prior), 0, 1)
    assert plain.prior.subtracted([-1.0, -3.0]) == pytest.approx([-1.1, -2.9])


def test_a_cpu_refuses(with_prior: Path) -> None:
    model = read_checkpoint(with_prior).quantized("fp8")
    with pytest.raises(ContractError, match=r"\+fp8 scores in fp8, which needs a GPU"):
        arguments(model, Settings(), on_cpu=True)
    given = {name: arguments(read_checkpoint(with_prior).quantized(name), Settings(), False) for name in PRIOR_FILES}
    assert given["fp8"] == {**given["none"], "quantization": "fp8"}
    assert (given["fp8"]["block_size"], given["fp8"]["max_num_batched_tokens"]) == (16, 16_384)


def test_held_out_scores_evaluation_and_gate_know_it_by_its_version(
    with_prior: Path, fp8: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_checkpoint(with_prior).quantized("fp8")
    make_questions(Path(fp8.warehouse), *questions())
    start = running(FirstEngine())
    # The champion keeps its own quantization, regardless of the settings.
    score_held_out(DS, model, fp8.model_copy(update={"quantization": "none"}), start=start)
    rows = stored(Path(fp8.warehouse), HELD_OUT_SCORES, "context_key")
    assert {row["model_version"] for row in rows} == {model.version}

    monkeypatch.setenv("MARQUEE_QUANTIZATION", "fp8")
    settings.cache_clear()
    try:
        assert version_of(str(with_prior)) == model.version
        assert version_of(f"{with_prior}+orders4") == f"{model.version}+orders4"
    finally:
        settings.cache_clear()

    write_estimate(fp8, model.version, 0.02)
    assert judge(with_prior, JUDGED, fp8).promoted
    registered = champion(str(fp8.registry))
    assert registered is not None
    assert registered.tags[VERSION_TAG] == model.version
    # A champion scores as it was registered; unquantized, the same folder is another version.
    plain = fp8.model_copy(update={"quantization": "none"})
    assert model_of_tonight(plain).model == model
    registry = Registry(fp8.registry)
    registry.promote(registry.register(read_checkpoint(with_prior)))
    assert model_of_tonight(fp8).model.version == read_checkpoint(with_prior).version
    registry.rollback()
    assert model_of_tonight(plain).model == model


def test_a_prior_is_measured_by_the_engine_and_changes_the_version(folder: Path, fp8: Settings) -> None:
    make_source(Path(fp8.warehouse), [example(number, options=2) for number in range(8)])
    before = read_checkpoint(folder)
    made = write_prior(folder, DS, fp8, FirstEngine())  # type: ignore[arg-type]
    assert made == read_checkpoint(folder).quantized("fp8")
    assert made.version != f"{before.version}+fp8"
    written = json.loads((folder / PRIOR_FILES["fp8"]).read_text())["prior"]
    assert written == {"2": [1.0, -1.0]}
    assert json.loads((folder / PRIOR_FILES["none"]).read_text())["prior"] == {"2": [0.1, -0.1]}


def test_the_prior_of_a_registered_checkpoint_is_not_measured_in_place(folder: Path, fp8: Settings) -> None:
    make_source(Path(fp8.warehouse), [example(number, options=2) for number in range(8)])
    registry = Registry(fp8.registry)
    registry.promote(registry.register(read_checkpoint(folder)))
    with pytest.raises(ContractError, match="is registered as version 1, and its version would change"):
        write_prior(folder, DS, fp8, FirstEngine())  # type: ignore[arg-type]
    assert not (folder / PRIOR_FILES["fp8"]).exists()
    assert model_of_tonight(fp8).model == read_checkpoint(folder)


def test_training_refuses_a_quantization(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    marquee: RunMarquee,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MARQUEE_QUANTIZATION", "fp8")
    monkeypatch.setenv("MARQUEE_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
    arguments = ["--ds", str(DS), "--base", str(folder), "--out", str(tmp_path / "out")]
    for command in (["train", "sft", *arguments], ["models", "check"]):
        assert marquee(*command, "--warehouse", str(tmp_path)) == REFUSED
        assert "MARQUEE_QUANTIZATION is fp8, but training makes unquantized checkpoints" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_engines_prior_is_the_trainers(engine: Engine, random_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """VLLM's log-probabilities and the training model's give the same numbers."""
    from training.engine_prior import engine_logprobs
    from training.prior import label_logprobs, prior_of
    from training.stage import load_base

    tokens = Tokens(random_checkpoint)
    source = make_source(tmp_path, [example(number) for number in range(12)])
    model, _ = load_base(random_checkpoint)
    by_trainer = prior_of(source, tokens, 1000, lambda prompts, labels: label_logprobs(model, prompts, labels))
    by_engine = prior_of(source, tokens, 1000, lambda prompts, labels: engine_logprobs(engine, prompts, labels))
    assert by_engine["prior"]["4"] == pytest.approx(by_trainer["prior"]["4"], abs=1e-4)
    assert not math.isclose(by_trainer["prior"]["4"][0], by_trainer["prior"]["4"][1], abs_tol=1e-3)
