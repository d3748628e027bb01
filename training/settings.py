"""The settings of training: one typed object per recipe. Each field is an option of `marquee train`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.contract import ContractError
from schemas.preferences import COUNT_LIMIT, NegativeKind

Recipe = TypeVar("Recipe", bound="Common")
TEMPLATED = "templated"
"""The teacher that is a template and no model: see training/reasoning.py."""


Batch = Annotated[int, Field(ge=1, description="examples per step and device")]
Accumulate = Annotated[int, Field(ge=1, description="steps whose gradients are accumulated before the weights change")]


class Common(BaseModel):
    """Settings of every recipe. The defaults suit the tiny Llama; `marquee train NAME --help` prints them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate; 1e-5 to 2e-4 for Llama 3.1 8B")
    epochs: float = Field(1.0, gt=0, description="passes over the examples")
    batch: Batch = 32
    accumulate: Accumulate = 1
    rank: int = Field(32, ge=1, description="rank of the adapters")
    alpha: int = Field(64, ge=1, description="adapters are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of an adapter's inputs dropped at random")
    warm_up: float = Field(0.05, ge=0, le=1, description="share of the steps over which the learning rate rises")
    save_steps: int = Field(
        50, ge=1, description="steps between checkpoints; a rerun after a kill resumes from the last one"
    )
    seed: int = Field(17, description="seed of the examples' order and the adapters' first weights")
    limit: int = Field(0, ge=0, description="most plays to learn from; 0 for all")


class Weighted(Common):
    """Settings of the recipes that weigh examples, played or not."""

    propensity_clip: float = Field(
        10.0,
        ge=0,
        description="weigh each example by 1 / propensity, at most this; weights have mean 1. 0: equal weights",
    )


class Sft(Weighted):
    """Supervised fine-tuning on the answer."""

    # The tiny Llama already knows the form of an answer; a higher rate makes it worse, because it learns to spread its
    # answers as plays are spread (docs/evaluation.md).
    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate; 1e-5 to 2e-4 for Llama 3.1 8B")
    not_played: float = Field(
        0.0,
        ge=0,
        description="weight of impressions that were not played, whose likelihood is lowered and which --limit then "
        "counts too; 0 learns from plays only",
    )


class Reasoning(Common):
    """Supervised fine-tuning on a teacher's reason, then the answer."""

    teacher: str = Field(
        TEMPLATED,
        description=f"source of the reasons: `{TEMPLATED}` for sentences made from the artworks' themes, or the "
        "version of a model with rows in teacher_reasons (`marquee train reasons`)",
    )
    reason_tokens: int = Field(
        48, ge=1, description="most tokens of a reason; examples with longer reasons are left out"
    )


class Dpo(Common):
    """Direct preference optimisation, after SFT: the played artwork above those that were not."""

    # Few large steps, because the weights of pairs vary a hundredfold.
    batch: Batch = 64
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate; 5e-7 to 5e-6 for Llama 3.1 8B")
    # DPO converges to the model's log-probabilities plus the log-odds of a play over beta. Easy features get there
    # first: at 0.1 the bands of play rates grew to many times their proper weight before themes moved.
    beta: float = Field(1.0, gt=0, description="how strongly the model is kept near the base")
    propensity_clip: float = Field(
        COUNT_LIMIT,
        ge=0,
        description="a play counts 1 / propensity, clipped at this, like the other side in preference_pairs",
    )
    negatives: tuple[NegativeKind, ...] = Field(
        ("same_user", "like_users"), min_length=1, description="kinds of preference pairs to learn from"
    )


class Binary(Weighted):
    """Weighted binary classification: was the shown artwork played?"""

    # 64 examples a step, in parts that a core's cache holds.
    batch: Batch = 16
    accumulate: Accumulate = 4
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate; 1e-5 to 1e-4 for Llama 3.1 8B")
    # The tiny Llama's answers are softmax(liking / 0.4), its likings log-odds of a play.
    scale: float = Field(0.4, gt=0, description="log-odds of a play per unit of the model's log-probability")


class Distilled(Binary):
    """A reward model on the base's hidden states, whose policy is distilled into the answers."""

    # Targets have little noise, so the rate may be higher than that of recipes that learn from single plays.
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate; 1e-4 to 2e-4 for Llama 3.1 8B")
    depth: float = Field(
        0.5, gt=0, le=1, description="share of the base's layers after which the reward model reads hidden states"
    )


class Advantage(Weighted):
    """Advantage-weighted likelihood: the shown artwork, by how much better than expected it did."""

    batch: Batch = 64
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate; 1e-5 to 1e-4 for Llama 3.1 8B")
    temperature: float = Field(
        0.5, gt=0, description="divides the advantage in the exponent of its weight; small: only plays count"
    )


class Grpo(Common):
    """Group relative policy optimisation, with the play as the reward."""

    learning_rate: float = Field(3e-4, gt=0, description="peak learning rate; about 1e-6 for Llama 3.1 8B")
    group: int = Field(8, ge=2, description="answers drawn for each question")
    beta: float = Field(0.02, ge=0, description="weight of the divergence from the base")
    propensity_clip: float = Field(10.0, ge=0, description="a play counts 1 / propensity, clipped at this")


RECIPES: dict[str, type[Common]] = {
    "sft": Sft,
    "dpo": Dpo,
    "binary": Binary,
    "distilled": Distilled,
    "advantage": Advantage,
    "grpo": Grpo,
    "reasoning": Reasoning,
}


def checked(recipe: type[Recipe], values: Mapping[str, Any]) -> Recipe:
    """A recipe's settings from `values`, by name. Raises ContractError for an invalid value."""
    try:
        return recipe(**values)
    except ValidationError as error:
        wrong = "; ".join(
            f"{_option(str(each['loc'][0]))} is {each['input']!r}: {each['msg']}" for each in error.errors()
        )
        raise ContractError(wrong) from error


def as_record(recipe: Common) -> dict[str, Any]:
    """The settings as JSON values."""
    return recipe.model_dump(mode="json")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
