"""Stages of post-training on a tiny random Llama: trl's pitfalls, kill and resume, the merged checkpoint."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from inference.checkpoint import Checkpoint, read_checkpoint, write_manifest
from inference.prior import PRIOR_FILES, LabelPrior, read_prior
from schemas.contract import ContractError
from schemas.prompt import ANSWER
from schemas.tables import POST_TRAINING_EXAMPLES
from tests.inference_data import choice, context, make_checkpoint
from tests.training_data import example, make_source, pair
from training import dpo, sft
from training.data import Source, open_source, prompt_ids
from training.prior import label_logprobs, measure_prior, questions_by_options, rotated_prompts
from training.settings import Common, Dpo, Sft
from training.stage import RECORD, Stage, begin, last_checkpoint, load_base, run

pytestmark = pytest.mark.slow

FEW: dict[str, Any] = {"batch": 4, "save_steps": 4, "rank": 4, "alpha": 8, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    examples = [example(number, played=number % 4 != 3, signals=["play_rate"]) for number in range(48)]
    pairs = [pair(of, weight=0.75) for of in examples if of["played"]]
    pairs += [pair(of, after=2, weight=0.25) for of in examples if of["played"] and of["shown"] != 2]
    return make_source(tmp_path_factory.mktemp("warehouse"), examples, pairs)


def finish(stage: Stage, trainer: Any) -> Checkpoint:
    made = run(stage, trainer, lambda model: measure_prior(model, stage))
    assert made is not None
    return made


def weights(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(checkpoint.path / "model.safetensors")


def begun_dpo(base: Checkpoint, source: Source, folder: Path) -> Any:
    """The trainer of a new DPO stage, before its first step."""
    recipe = Dpo(**FEW)
    stage = Stage("dpo", base, folder, recipe, source)
    begin(stage)
    return dpo.train(stage, recipe)


class KilledError(Exception):
    """Stands for the end of the process."""


def killed_at(step: int) -> Any:
    from transformers import TrainerCallback

    class Killer(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if state.global_step == step:
                raise KilledError

    return Killer()


@pytest.mark.parametrize(
    ("name", "recipe", "train"),
    [("sft", Sft(not_played=0.5, **FEW), sft.train), ("dpo", Dpo(**FEW), dpo.train)],
    ids=["sft", "dpo"],
)
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    random_checkpoint: Checkpoint,
    source: Source,
    tmp_path: Path,
    name: str,
    recipe: Common,
    train: Callable[[Stage, Any], Any],
) -> None:
    whole, resumed = (Stage(name, random_checkpoint, tmp_path / folder, recipe, source) for folder in ("one", "two"))
    assert begin(whole) is whole
    expected = finish(whole, train(whole, recipe))

    begin(resumed)
    trainer = train(resumed, recipe)
    trainer.add_callback(killed_at(7))
    with pytest.raises(KilledError):
        trainer.train()
    # A checkpoint that was being written at the time.
    (resumed.work / "checkpoint-6").mkdir()
    assert last_checkpoint(resumed.work) == str(resumed.work / "checkpoint-4")
    again = begin(resumed)
    assert again is not None
    found = finish(again, train(again, recipe))
    assert found.version == expected.version
    assert (found.path / "loss.json").read_text() == (expected.path / "loss.json").read_text()
    assert begin(resumed) is None


def test_a_run_of_one_step_learns(random_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A warm-up begins at learning rate 0, and a log with one play has no second step."""
    source = make_source(tmp_path / "warehouse", [example(1)], [pair(example(1))])
    recipes: list[tuple[str, Common, Callable[[Stage, Any], Any]]] = [
        ("sft", Sft(**FEW), sft.train),
        ("dpo", Dpo(**FEW), dpo.train),
    ]
    for name, recipe, train in recipes:
        stage = Stage(name, random_checkpoint, tmp_path / name, recipe, source)
        begin(stage)
        made = finish(stage, train(stage, recipe))
        mlp = "model.layers.0.mlp.up_proj.weight"
        assert not np.array_equal(weights(random_checkpoint)[mlp], weights(made)[mlp]), name


def test_a_run_refused_for_its_examples_reads_those_made_since(random_checkpoint: Checkpoint, tmp_path: Path) -> None:
    stage = Stage("sft", random_checkpoint, tmp_path / "sft", Sft(), make_source(tmp_path, [example(0, played=False)]))
    begin(stage)
    with pytest.raises(ContractError, match="nothing to learn from"):
        sft.training_rows(stage, Sft())
    write_deltalake(
        str(tmp_path / POST_TRAINING_EXAMPLES.name),
        pa.Table.from_pylist([example(1)], schema=POST_TRAINING_EXAMPLES.arrow_schema()),
        mode="overwrite",
    )
    again = begin(replace(stage, source=open_source(str(tmp_path), stage.source.ds, [POST_TRAINING_EXAMPLES])))
    assert again is not None
    assert len(sft.training_rows(again, Sft()).rows) == 1
    assert json.loads((stage.work / RECORD).read_text())["versions"] == again.source.versions


def test_another_run_does_not_resume_in_the_same_folder(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    begin(Stage("sft", random_checkpoint, tmp_path, Sft(), source))
    with pytest.raises(ContractError, match=r"differs in settings\.rank \(32 there, 4 now\) "):
        begin(Stage("sft", random_checkpoint, tmp_path, Sft(rank=4), source))
    with pytest.raises(ContractError, match="differs in name"):
        begin(Stage("sft", random_checkpoint, tmp_path, Sft(), source, called="other"))
    with pytest.raises(ContractError, match="differs in stage"):
        begin(Stage("dpo", random_checkpoint, tmp_path, Sft(), source))
    with pytest.raises(ContractError, match="did not make"):
        begin(Stage("sft", random_checkpoint, random_checkpoint.path, Sft(), source))


def test_dpo_begins_at_ln_2_and_watches_the_option_numbers(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    trainer = begun_dpo(random_checkpoint, source, tmp_path)
    trainer.args.logging_steps = trainer.state.logging_steps = 1
    weights = [batch["weights"].sum(dim=1).mean().item() for batch in trainer.get_train_dataloader()]
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert logged[0]["loss"] == pytest.approx(weights[0] * math.log(2), abs=1e-6)
    # One pass over so few pairs may not lower the last batch's loss, but the adapter must have changed.
    assert logged[-1]["loss"] != pytest.approx(weights[-1] * math.log(2), abs=1e-4)
    assert all(0 < entry["label_mass"] <= 1 for entry in logged)


def test_reading_a_prompt_once_gives_the_loss_and_gradient_of_trl(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    from trl import DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    trainer = begun_dpo(random_checkpoint, source, tmp_path)
    trainer.train()  # away from the reference, where all losses are ln 2
    rows = sorted(trainer.train_dataset, key=lambda row: (len(row["prompt_ids"]), len(row["rejected_ids"])))
    rows = [rows[0], rows[1], rows[-1], rows[len(rows) // 2]]
    assert {len(row["rejected_ids"]) for row in rows} == {1, 2}
    assert len({len(row["prompt_ids"]) for row in rows}) > 1

    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, trainer.data_collator(rows), False)
    accuracy = trainer._metrics["train"]["rewards/accuracies"].pop()
    loss.backward()
    ours = [each.grad.clone() for each in trainer.model.parameters() if each.grad is not None]

    trainer.model.zero_grad()
    collator, whole, right = DataCollatorForPreference(trainer.processing_class.pad_token_id), 0.0, 0.0
    for row in rows:
        for rejected, weight in zip(row["rejected_ids"], row["weights"], strict=True):
            one = collator([{**row, "rejected_ids": [rejected]}])
            of_trl: Any = DPOTrainer
            part = of_trl._compute_loss(trainer, trainer.model, one, False) * weight / len(rows)
            part.backward()
            whole += part.item()
            right += weight * trainer._metrics["train"]["rewards/accuracies"].pop()
    trls = [each.grad for each in trainer.model.parameters() if each.grad is not None]
    assert whole != pytest.approx(math.log(2), abs=1e-4)
    assert loss.item() == pytest.approx(whole, abs=1e-6)
    assert accuracy == pytest.approx(right / sum(sum(row["weights"]) for row in rows), abs=1e-6)
    assert len(ours) == len(trls) > 0
    for one_pass, of_pairs in zip(ours, trls, strict=True):
        assert np.allclose(one_pass, of_pairs, atol=1e-6)


def test_trl_is_given_exactly_the_prompt_and_one_token(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    recipe = Dpo(**FEW)
    stage = Stage("dpo", random_checkpoint, tmp_path, recipe, source)
    trainer = dpo.train(stage, recipe)
    rows = dpo.training_rows(stage, recipe).rows
    assert len(trainer.train_dataset) == len(rows) == 36
    given = list(trainer.get_train_dataloader())
    prompts = [
        ids[: end + 1].tolist() for batch in given for ids, end in zip(batch["input_ids"], batch["ends"], strict=True)
    ]
    assert sorted(prompts) == sorted(row["prompt_ids"] for row in rows)
    assert sum(batch["weights"].sum().item() for batch in given) == pytest.approx(len(rows), rel=1e-5)
    for batch in given:
        assert set(batch["chosen"].flatten().tolist()) <= set(stage.tokens.labels)
        assert set(batch["rejected"][batch["weights"] > 0].tolist()) <= set(stage.tokens.labels)

    plays = Sft(**FEW)
    trainer = sft.train(Stage("sft", random_checkpoint, tmp_path, plays, source), plays)
    assert len(trainer.train_dataset) == 36
    for batch in trainer.get_train_dataloader():
        assert (batch["labels"] != -100).sum(dim=1).tolist() == [1] * 4
        answered = batch["labels"][batch["labels"] != -100]
        assert (answered == batch["input_ids"][batch["labels"] != -100]).all()


def test_sft_lowers_the_loss_and_the_merged_checkpoint_is_the_trained_model(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    recipe = Sft(epochs=6, **FEW)
    stage = Stage("sft", random_checkpoint, tmp_path / "sft", recipe, source)
    begin(stage)
    trainer = sft.train(stage, recipe)
    kept: dict[str, Any] = {}
    questions = [(context("drama", "Big (1988): comedy"), choice(f"Film {place}", 4)) for place in range(4)]
    prompts = [ids for ids in (prompt_ids(stage.tokens, *texts, limit=1000) for texts in questions) if ids]
    labels = stage.tokens.labels[:4]

    def measure(model: Any) -> dict[str, Any]:
        kept["trainer"] = label_logprobs(model, prompts, labels)
        return {"prior": {"4": [0.5, 0.0, 0.0, -0.5]}}

    made = run(stage, trainer, measure)
    assert made is not None
    assert made.signals == ("play_rate",)
    losses = json.loads((made.path / "loss.json").read_text())
    assert [set(each) for each in losses] == [{"stage", "step", "loss"}] * len(losses)
    assert losses[-1]["loss"] < losses[0]["loss"]
    loaded, _ = load_base(made)
    assert np.allclose(label_logprobs(loaded, prompts, labels), kept["trainer"], atol=1e-5)
    untouched = {"model.embed_tokens.weight", "model.norm.weight"}
    before, after = weights(random_checkpoint), weights(made)
    assert {name for name in before if np.array_equal(before[name], after[name])} >= untouched
    assert not np.array_equal(before["model.layers.0.mlp.up_proj.weight"], after["model.layers.0.mlp.up_proj.weight"])


def test_versions_differ_with_weights_and_with_the_prior(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint")
    without = write_manifest(folder, "tests").version
    (folder / PRIOR_FILES["none"]).write_text(json.dumps({"prior": {"2": [0.1, -0.1]}}))
    with pytest.raises(ContractError, match=r"label_prior\.json changed"):
        read_checkpoint(folder)
    assert write_manifest(folder, "tests").version != without
    shutil.copytree(folder, tmp_path / "copy")
    assert read_checkpoint(tmp_path / "copy").version == read_checkpoint(folder).version


def test_a_prior_is_subtracted_where_it_is_known(tmp_path: Path) -> None:
    (tmp_path / PRIOR_FILES["none"]).write_text(json.dumps({"prior": {"2": [0.3, -0.3]}}))
    prior = read_prior(tmp_path)
    assert prior.subtracted([-1.0, -1.0]) == pytest.approx([-1.3, -0.7])
    assert prior.subtracted([-1.0, -1.0, -1.0]) == [-1.0, -1.0, -1.0]
    assert read_prior(tmp_path / "none") == LabelPrior({})


def test_a_measured_prior_evens_the_numbers_out(random_checkpoint: Checkpoint, source: Source, tmp_path: Path) -> None:
    """Over all rotations of the questions of its measurement, no number is preferred."""
    stage = Stage("sft", random_checkpoint, tmp_path, Sft(), source)
    model, _ = load_base(random_checkpoint)
    found = measure_prior(model, stage)
    assert set(found["prior"]) == {"4"}
    questions = questions_by_options(source)[4]
    prompts = rotated_prompts(questions, 4, stage.tokens, stage.limit)
    assert len(prompts) == 4 * len(questions)
    liked = label_logprobs(model, prompts, stage.tokens.labels[:4]).mean(axis=0)
    assert liked.max() - liked.min() > 0.01
    evened = liked - np.array(found["prior"]["4"])
    assert evened.max() - evened.min() == pytest.approx(0, abs=1e-5)


def test_an_option_stands_once_at_each_number(random_checkpoint: Checkpoint, source: Source, tmp_path: Path) -> None:
    """Even if a title has more options than the measurement has prompts."""
    tokens = Stage("sft", random_checkpoint, tmp_path, Sft(), source).tokens
    listed = [f"{number}. artwork {chr(ord('a') + number)}\n" for number in range(1, 13)]
    prompts = rotated_prompts([("Watched\n", f"Title: A\n{''.join(listed)}{ANSWER}")], 12, tokens, 4096)
    lines = [[line for line in tokens.text(prompt).splitlines() if "artwork" in line] for prompt in prompts]
    assert sorted(line for options in lines for line in options) == sorted(
        f"{number}. artwork {chr(ord('a') + each)}" for number in range(1, 13) for each in range(1, 13)
    )


def test_the_record_of_a_run_has_the_versions_that_it_reads(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    stage = Stage("sft", random_checkpoint, tmp_path, Sft(), source)
    begin(stage)
    record = json.loads((stage.work / RECORD).read_text())
    assert record["versions"] == source.versions
    assert record["base"] == random_checkpoint.version
    without = make_source(tmp_path / "without", [example(1)])
    with pytest.raises(ContractError, match=r"differs in signals \(\['play_rate'\] there, \[\] now\)"):
        begin(replace(stage, source=without))


def test_accumulated_steps_count_as_one_larger_step(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    changed = []
    for name, batch, accumulate in (("large", 48, 1), ("small", 12, 4)):
        # As one batch, and in four.
        recipe = Sft(**{**FEW, "batch": batch, "not_played": 0.5}, accumulate=accumulate, warm_up=0.0)
        stage = Stage("sft", random_checkpoint, tmp_path / name, recipe, source)
        begin(stage)
        changed.append(weights(finish(stage, sft.train(stage, recipe))))
    for name, of_large in changed[0].items():
        assert np.allclose(of_large, changed[1][name], atol=1e-4), name
