"""The recipes that learn from every outcome: levels, losses, the first loss, and which way a step moves the model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.checkpoint import Checkpoint
from tests.training_data import example, make_source
from training import advantage, binary, distilled
from training.data import Source
from training.levels import levels, outcomes, training_rows
from training.outcomes import Collator, advantage_loss, binary_loss, distillation_loss
from training.prior import label_logprobs
from training.reward_head import fitted, read_options
from training.settings import Advantage, Binary, Common, Distilled
from training.stage import Stage, load_base


def outcome(user: str, title: str, played: bool) -> dict[str, Any]:
    return {"user_id": user, "title_id": title, "played": played}


def batch_of(shown: list[int], played: list[float], level: float = 0.0, options: int = 3) -> dict[str, Tensor]:
    count = len(shown)
    return {
        "shown": torch.tensor(shown),
        "played": torch.tensor(played),
        "level": torch.full((count,), level),
        "is_option": torch.ones(count, options, dtype=torch.bool),
    }


def test_a_level_is_high_for_a_title_and_a_user_with_many_plays() -> None:
    rows = [outcome(f"u{user}", "good", True) for user in range(40)]
    rows += [outcome(f"u{user}", "bad", False) for user in range(40)]
    rows += [outcome("eager", "good", True)] * 30 + [outcome("idle", "good", False)] * 30
    found = levels(rows)
    assert min(found[:40]) > max(found[40:80])
    assert np.mean(found[80:110]) > np.mean(found[110:140])


def test_an_outcome_is_not_part_of_its_own_level() -> None:
    rows = [outcome(f"u{number % 7}", f"t{number % 3}", number % 2 == 0) for number in range(60)]
    for place in (0, 17, 59):
        changed = [dict(row) for row in rows]
        changed[place]["played"] = not rows[place]["played"]
        # Only through the overall rate, a sixtieth of an impression.
        assert levels(changed)[place] == pytest.approx(levels(rows)[place], abs=0.2)
        assert max(abs(np.subtract(levels(changed), levels(rows)))) > 0.2


def test_outcomes_have_both_plays_and_others_and_weights_of_mean_1(tmp_path: Path) -> None:
    source = make_source(tmp_path, [example(number, played=number % 3 == 0) for number in range(12)])
    found = list(outcomes(source, propensity_clip=10, limit=0))
    assert sum(row["played"] for row in found) == 4
    assert np.mean([row["weight"] for row in found]) == pytest.approx(1)
    assert len(list(outcomes(source, propensity_clip=10, limit=5))) == 5


def test_the_binary_loss_of_equal_options_is_that_of_the_level() -> None:
    log_probs = torch.full((2, 3), -5.0)
    found = binary_loss(log_probs, batch_of([0, 2], [1.0, 0.0], level=0.3), scale=0.4)
    rate = 1 / (1 + math.exp(-0.3))
    assert found.tolist() == pytest.approx([-math.log(rate), -math.log(1 - rate)])


def test_the_binary_loss_ignores_what_all_options_share_and_what_is_padding() -> None:
    log_probs = torch.tensor([[-1.0, -2.0, -9.0]])
    batch = batch_of([0], [1.0])
    batch["is_option"][0, 2] = False
    alone = binary_loss(log_probs[:, :2], batch_of([0], [1.0], options=2), scale=0.4)
    assert binary_loss(log_probs, batch, scale=0.4).tolist() == pytest.approx(alone.tolist())
    assert binary_loss(log_probs - 3, batch, scale=0.4).tolist() == pytest.approx(alone.tolist())
    assert alone.item() == pytest.approx(-math.log(1 / (1 + math.exp(-0.4 * 0.5))))


def test_a_play_raises_the_shown_option_above_the_others_and_no_play_lowers_it() -> None:
    log_probs = torch.zeros(2, 3, requires_grad=True)
    binary_loss(log_probs, batch_of([1, 1], [1.0, 0.0]), scale=0.4).sum().backward()
    assert log_probs.grad is not None
    played, not_played = log_probs.grad
    # A step goes against the gradient.
    assert played[1] < 0 < played[0]
    assert not_played[1] > 0 > not_played[0]
    assert played.sum().item() == pytest.approx(0, abs=1e-6)


def test_outcomes_that_do_not_depend_on_the_artwork_teach_no_preference() -> None:
    liking = torch.tensor([1.0, 0.0, -1.0], requires_grad=True)
    shown, played = [0, 1, 2] * 10, [1.0] * 12 + [0.0] * 18
    batch = batch_of(shown, played, level=math.log(0.4 / 0.6))
    optimizer = torch.optim.SGD([liking], lr=10.0)
    for _ in range(200):
        optimizer.zero_grad()
        binary_loss(liking.log_softmax(0).expand(30, 3), batch, scale=0.4).mean().backward()
        optimizer.step()
    assert liking.std().item() < 0.01


def test_an_unexpected_play_weighs_more_than_an_expected_one_and_both_more_than_none() -> None:
    log_probs = torch.full((3, 3), -1.0, requires_grad=True)
    batch = batch_of([0, 0, 0], [1.0, 1.0, 0.0])
    batch["level"] = torch.tensor([-1.0, 1.0, 0.0])
    found = advantage_loss(log_probs, batch, temperature=0.5)
    rates = [1 / (1 + math.exp(1)), 1 / (1 + math.exp(-1)), 0.5]
    expected = [math.exp((played - rate) / 0.5) for played, rate in zip([1, 1, 0], rates, strict=True)]
    assert found.tolist() == pytest.approx(expected)
    found.sum().backward()
    assert log_probs.grad is not None
    of_shown = log_probs.grad[:, 0]
    assert of_shown[0] < of_shown[1] < of_shown[2] < 0
    assert (log_probs.grad[:, 1:] == 0).all()


def test_the_distillation_loss_is_0_at_the_target_and_moves_options_towards_it() -> None:
    target = torch.tensor([[0.7, 0.2, 0.1, 0.0]])
    batch = {"target": target, "is_option": torch.tensor([[True, True, True, False]])}
    at_target = torch.tensor([[0.7, 0.2, 0.1, 0.5]]).log()
    assert distillation_loss(at_target, batch).item() == pytest.approx(0, abs=1e-6)
    logits = torch.zeros(1, 4, requires_grad=True)
    loss = distillation_loss(logits[:, :3].log_softmax(1), {"target": target[:, :3], "is_option": torch.ones(1, 3) > 0})
    assert loss.item() > 0
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1] < logits.grad[0, 2]


WIDTH = 6


def served(count: int, worth: np.ndarray, seed: int) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Impressions of 4 options each whose plays follow the `worth` (WIDTH,) of their states."""
    rng = np.random.default_rng(seed)
    rows, options = [], []
    for number in range(count):
        states, log_probs = rng.normal(size=(4, WIDTH)), rng.normal(size=4)
        each = np.column_stack([log_probs - log_probs.mean(), states - states.mean(0)])
        shown = int(rng.integers(4))
        level = rng.normal()
        chance = 1 / (1 + math.exp(-level - each[shown, 1:] @ worth))
        outcome = {"played": float(rng.random() < chance), "level": level, "weight": 1.0}
        rows.append({"user_id": f"u{number % 50}", "shown": shown, **outcome})
        options.append(each)
    return rows, options


def test_a_reward_head_finds_what_plays_are_worth_and_that_the_base_is_wrong() -> None:
    worth = np.array([1.0, -0.5, 0, 0, 0, 0])
    rows, options = served(4_000, worth, seed=1)
    head = fitted(rows, options, scale=0.4)
    assert head.coefficients[1:] == pytest.approx(worth, abs=0.15)
    # The base's answers are noise here: what they are expected to mean is taken off.
    assert head.coefficients[0] == pytest.approx(-0.4, abs=0.1)
    assert head.log_loss < head.log_loss_of_base - 0.05
    assert head.rewards(options[0]) == pytest.approx(options[0][:, 1:] @ worth, abs=0.5)


def test_outcomes_without_anything_to_learn_leave_the_base_as_it_is() -> None:
    rows, options = served(1_000, np.zeros(WIDTH), seed=2)
    rng = np.random.default_rng(3)
    for row, each in zip(rows, options, strict=True):
        chance = 1 / (1 + math.exp(-row["level"] - 0.4 * each[row["shown"], 0]))
        row["played"] = float(rng.random() < chance)
    head = fitted(rows, options, scale=0.4)
    assert head.coefficients == pytest.approx(np.zeros(1 + WIDTH), abs=0.05)


@pytest.mark.slow
def test_states_are_those_at_the_ends_of_the_options_lines(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path
) -> None:
    stage = Stage("distilled", random_checkpoint, tmp_path, Distilled(), source)
    rows = training_rows(stage, 10).rows.to_list()
    model, _ = load_base(random_checkpoint)
    found = read_options(model, rows, layer=1)
    for row, each in list(zip(rows, found, strict=True))[:3]:
        ends = [stage.tokens.text([row["input_ids"][end]]) for end in row["option_ends"]]
        assert all(end.endswith("\n") for end in ends)
        assert len(ends) == len(row["option_ids"]) == len(each)
        alone = model.model(torch.tensor([row["input_ids"]]), output_hidden_states=True).hidden_states[1][0]
        states = alone[row["option_ends"]].detach().numpy()
        normed = states / np.sqrt((states**2).mean(1, keepdims=True))
        assert each[:, 1:] == pytest.approx(normed - normed.mean(0), abs=1e-4)
        own = label_logprobs(model, [row["input_ids"]], row["option_ids"])[0]
        assert each[:, 0] == pytest.approx(own - own.mean(), abs=1e-4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    rows = [example(number, options=3 + number % 3, played=number % 4 == 0) for number in range(32)]
    return make_source(tmp_path_factory.mktemp("warehouse"), rows)


def begun(name: str, recipe: Common, base: Checkpoint, source: Source, out: Path) -> tuple[Stage, Any]:
    stage = Stage(name, base, out, recipe, source)
    trainer = {"binary": binary.train, "advantage": advantage.train, "distilled": distilled.train}[name](stage, recipe)  # type: ignore[operator]
    return stage, trainer


def step_loss(trainer: Any) -> float:
    batch = Collator(0)([trainer.train_dataset[place] for place in range(len(trainer.train_dataset))])
    return float(trainer.compute_loss(trainer.model, batch).detach())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), [("binary", Binary()), ("advantage", Advantage())])
def test_the_first_loss_is_that_of_the_base(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path, name: str, recipe: Any
) -> None:
    stage, trainer = begun(name, recipe, random_checkpoint, source, tmp_path)
    model, _ = load_base(random_checkpoint)
    expected = []
    for row in training_rows(stage, recipe.propensity_clip).rows:
        log_probs = torch.tensor(label_logprobs(model, [row["input_ids"]], row["option_ids"]))
        batch = batch_of([row["shown"]], [row["played"]], row["level"], len(row["option_ids"]))
        loss = (
            binary_loss(log_probs, batch, recipe.scale)
            if name == "binary"
            else advantage_loss(log_probs, batch, recipe.temperature)
        )
        expected.append(row["weight"] * loss.item())
    assert step_loss(trainer) == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), [("binary", Binary), ("advantage", Advantage), ("distilled", Distilled)])
def test_training_lowers_the_loss(
    random_checkpoint: Checkpoint, source: Source, tmp_path: Path, name: str, recipe: type[Common]
) -> None:
    few = recipe(batch=16, accumulate=1, epochs=3, learning_rate=1e-2, rank=4, alpha=8)
    _, trainer = begun(name, few, random_checkpoint, source, tmp_path)
    before = step_loss(trainer)
    trainer.train()
    trainer.model.eval()
    assert step_loss(trainer) < before - 0.005
    assert all("label_mass" in entry for entry in trainer.state.log_history if "loss" in entry)
