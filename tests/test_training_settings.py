"""Recipes and their options."""

from __future__ import annotations

import argparse

import pytest

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
