"""What decides a checkpoint: one typed object per recipe. Each field is an option of the recipe's command."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

Recipe = TypeVar("Recipe", bound="Common")
TEMPLATED = "templated"
"""The teacher that is no model: see training/reasoning.py."""


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class Common:
    """What every recipe has. The defaults suit the tiny Llama; `--help` of each command tells them."""

    learning_rate: float = _setting(2e-4, "peak learning rate; 1e-5 to 2e-4 for Llama 3.1 8B")
    epochs: float = _setting(1.0, "times that every example is seen")
    batch: int = _setting(32, "examples in one step of one device")
    accumulate: int = _setting(1, "steps whose gradients are added up before the weights change")
    rank: int = _setting(32, "rank of the adapters")
    alpha: int = _setting(64, "adapters count alpha / rank times")
    dropout: float = _setting(0.0, "share of an adapter's inputs left out at random")
    warm_up: float = _setting(0.05, "share of the steps over which the learning rate rises")
    save_steps: int = _setting(200, "steps from one checkpoint to the next; a rerun after a kill goes on from the last")
    seed: int = _setting(17, "order of examples and first weights of adapters")
    limit: int = _setting(0, "plays to learn from at most; 0 for all")


@dataclass(frozen=True)
class Sft(Common):
    """Supervised fine-tuning on the answer."""

    # The tiny Llama knows the form of an answer, and loses by more: it learns to spread its answers as plays are spread
    # (docs/evaluation.md).
    learning_rate: float = _setting(1e-5, "peak learning rate; 1e-5 to 2e-4 for Llama 3.1 8B")
    not_played: float = _setting(
        0.0,
        "weight of impressions that were not played, whose likelihood is lowered, and which --limit then counts too; 0 "
        "learns from plays alone",
    )
    propensity_clip: float = _setting(
        10.0, "weigh each example by 1 / propensity, at most this; weights have mean 1. 0 weighs all alike"
    )


@dataclass(frozen=True)
class Reasoning(Common):
    """Supervised fine-tuning on a teacher's reason, then the answer."""

    teacher: str = _setting(
        TEMPLATED,
        f"whose reasons: `{TEMPLATED}` for sentences made of the artworks' themes, or the version of a model whose "
        "rows of teacher_reasons to learn from (python -m inference.teacher)",
    )
    reason_tokens: int = _setting(48, "tokens of a reason at most; an example whose reason has more is left out")


@dataclass(frozen=True)
class Dpo(Common):
    """Direct preference optimisation, after SFT: the played artwork above one that was not."""

    # Few large steps: what a pair weighs varies a hundredfold.
    batch: int = _setting(64, "examples in one step of one device")
    learning_rate: float = _setting(5e-4, "peak learning rate; 5e-7 to 5e-6 for Llama 3.1 8B")
    # DPO ends where it has added the log-odds of a play, over beta, to what the model said. What is easily learned
    # comes there first: at 0.1 the bands of play rates grew to many times their due before themes moved.
    beta: float = _setting(1.0, "how strongly the model is held to where it started")
    propensity_clip: float = _setting(
        10.0, "a play counts 1 / propensity, at most this, as what is below it does in preference_pairs"
    )
    negatives: tuple[str, ...] = _setting(("same_user", "like_users"), "kinds of preference pairs to learn from")


@dataclass(frozen=True)
class Grpo(Common):
    """Group relative policy optimisation, with the play as the reward."""

    learning_rate: float = _setting(3e-4, "peak learning rate; about 1e-6 for Llama 3.1 8B")
    group: int = _setting(8, "answers drawn for each question")
    beta: float = _setting(0.02, "weight of the divergence from where the model started")
    propensity_clip: float = _setting(10.0, "a play counts 1 / propensity, at most this")


def add_arguments(parser: argparse.ArgumentParser, recipe: type[Common]) -> None:
    """One option for each field of `recipe`."""
    types = get_type_hints(recipe)
    for each in fields(recipe):
        assert each.default is not MISSING
        many = isinstance(each.default, tuple)
        parser.add_argument(
            "--" + each.name.replace("_", "-"),
            type=str if many else types[each.name],
            nargs="+" if many else None,
            default=each.default,
            help=f"{each.metadata['help']} (default: {' '.join(each.default) if many else each.default})",
        )


def from_arguments(arguments: argparse.Namespace, recipe: type[Recipe]) -> Recipe:
    values: dict[str, Any] = {each.name: getattr(arguments, each.name) for each in fields(recipe)}
    made: Any = recipe
    chosen: Recipe = made(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    )
    return chosen


def as_record(recipe: Common) -> dict[str, Any]:
    """The settings as JSON holds them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(recipe).items()}
