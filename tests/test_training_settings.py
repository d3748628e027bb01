"""Recipes and their options."""

from __future__ import annotations

import argparse

import pytest

from schemas.contract import ContractError
from training.settings import Common, Dpo, Grpo, Reasoning, Sft, add_arguments, as_record, from_arguments


def parsed(recipe: type[Common], *options: str) -> Common:
    parser = argparse.ArgumentParser()
    add_arguments(parser, recipe)
    return from_arguments(parser.parse_args(options), recipe)


@pytest.mark.parametrize("recipe", [Sft, Dpo, Grpo, Reasoning])
def test_without_options_a_recipe_has_its_defaults(recipe: type[Common]) -> None:
    assert parsed(recipe) == recipe()


def test_every_field_is_an_option() -> None:
    found = parsed(Dpo, "--learning-rate", "1e-4", "--batch", "4", "--negatives", "never_shown", "same_user")
    assert found == Dpo(learning_rate=1e-4, batch=4, negatives=("never_shown", "same_user"))
    assert as_record(parsed(Reasoning, "--teacher", "llama-70b@1"))["teacher"] == "llama-70b@1"
    assert as_record(found)["negatives"] == ["never_shown", "same_user"]


@pytest.mark.parametrize(
    ("recipe", "option", "value", "told"),
    [
        (Sft, "--limit", "-1", r"--limit is -1: .* greater than or equal to 0"),
        (Sft, "--learning-rate", "0", r"--learning-rate is 0\.0: .* greater than 0"),
        (Dpo, "--negatives", "seen", r"--negatives is 'seen': .*'same_user', 'like_users' or 'never_shown'"),
        (Grpo, "--group", "1", r"--group is 1: .* greater than or equal to 2"),
    ],
)
def test_a_value_that_a_recipe_cannot_take_is_told_by_its_option(
    recipe: type[Common], option: str, value: str, told: str
) -> None:
    with pytest.raises(ContractError, match=told):
        parsed(recipe, option, value)
