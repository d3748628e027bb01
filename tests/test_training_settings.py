"""Recipes and their options."""

from __future__ import annotations

import pytest

from schemas.exit_codes import REFUSED
from tests.conftest import RunMarquee
from training import command
from training.settings import RECIPES, Common, Dpo, Grpo, Reasoning, Sft, as_record, checked

MADE = ["--ds", "2026-01-14", "--base", "b", "--out", "o"]


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Common]:
    """The settings that `marquee train` passes on, recorded instead of training."""
    found: list[Common] = []

    def keep(name: str, ds: object, base: str, out: str, called: object, values: dict[str, object]) -> None:
        assert (str(ds), base, out, called) == ("2026-01-14", "b", "o", None)
        found.append(checked(RECIPES[name], values))

    monkeypatch.setattr(command, "train", keep)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_without_options_a_recipe_has_its_defaults(name: str, marquee: RunMarquee, chosen: list[Common]) -> None:
    assert marquee("train", name, *MADE) == 0
    assert chosen == [RECIPES[name]()]


def test_every_field_is_an_option(marquee: RunMarquee, chosen: list[Common]) -> None:
    given = ["--learning-rate", "1e-4", "--batch", "4", "--negatives", "never_shown", "--negatives", "same_user"]
    assert marquee("train", "dpo", *MADE, *given) == 0
    assert chosen == [Dpo(learning_rate=1e-4, batch=4, negatives=("never_shown", "same_user"))]
    assert as_record(chosen[0])["negatives"] == ["never_shown", "same_user"]
    assert marquee("train", "reasoning", *MADE, "--teacher", "llama-70b@1") == 0
    assert chosen[1] == Reasoning(teacher="llama-70b@1")


@pytest.mark.parametrize(
    ("recipe", "option", "value", "sentence"),
    [
        (Sft, "--limit", "-1", "--limit is -1: Input should be greater than or equal to 0"),
        (Sft, "--learning-rate", "0", "--learning-rate is 0.0: Input should be greater than 0"),
        (
            Dpo,
            "--negatives",
            "seen",
            "--negatives is 'seen': Input should be 'same_user', 'like_users' or",
        ),
        (Grpo, "--group", "1", "--group is 1: Input should be greater than or equal to 2"),
    ],
)
@pytest.mark.usefixtures("chosen")
def test_a_value_that_a_recipe_cannot_take_is_refused_by_its_option(
    recipe: type[Common],
    option: str,
    value: str,
    sentence: str,
    marquee: RunMarquee,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = recipe.__name__.lower()
    assert marquee("train", name, *MADE, option, value) == REFUSED
    assert capsys.readouterr().err.startswith(f"marquee train {name}: {sentence}")
