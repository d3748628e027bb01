"""Group relative policy optimisation: the model draws several numbers for a question, and the number that was played is
rewarded with min(1 / propensity, clip), divided by its mean. Only plays can be rewarded, so only they are questions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from schemas.contract import ContractError
from schemas.events import report
from schemas.tables import POST_TRAINING_EXAMPLES
from training.data import Tokenized, tokenized
from training.settings import Grpo, Sft
from training.sft import weighted_examples
from training.stage import Stage

TABLES = (POST_TRAINING_EXAMPLES,)
"""The tables that the recipe reads."""
_SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("answer", pa.int32()), ("reward", pa.float32())])


def reward_row(stage: Stage) -> Callable[[dict[str, Any], list[int]], dict[str, Any]]:
    labels = stage.tokens.labels

    def row(example: dict[str, Any], prompt: list[int]) -> dict[str, Any]:
        return {"input_ids": prompt, "answer": labels[example["shown"] - 1], "reward": example["weight"]}

    return row


def training_rows(stage: Stage, recipe: Grpo) -> Tokenized:
    plays = weighted_examples(stage.source, Sft(propensity_clip=recipe.propensity_clip, limit=recipe.limit))
    return tokenized(plays, stage.tokens, stage.limit, _SCHEMA, reward_row(stage))


def check_batch(recipe: Grpo, questions: int, processes: int = 1) -> None:
    """Raise ContractError if the questions do not fill a single step: trl drops an incomplete one."""
    answers = recipe.batch * recipe.accumulate * processes
    if answers % recipe.group:
        raise ContractError(
            f"--batch {recipe.batch} times --accumulate {recipe.accumulate} is {answers} answers a step, which "
            f"--group {recipe.group} does not divide; choose numbers that it divides"
        )
    if questions < answers // recipe.group:
        raise ContractError(
            f"{POST_TRAINING_EXAMPLES.name}: {questions:,} plays to learn from are fewer than the "
            f"{answers // recipe.group:,} of one step (--batch times --accumulate, over --group); give a smaller "
            "--batch, or log more plays and run the step examples again"
        )


def make_trainer(stage: Stage, recipe: Grpo, rows: Tokenized) -> Any:
    from trl import GRPOConfig

    from training.rewards import PlayTrainer, play_reward
    from training.stage import adapters, load_base, printer, trainer_arguments

    model, tokenizer = load_base(stage.base)
    shared = {name: value for name, value in trainer_arguments(stage).items() if name != "max_length"}
    questions = rows.rows.remove_columns(["input_ids"]).add_column(
        "prompt", [str(place) for place in range(len(rows.rows))]
    )
    return PlayTrainer(
        tokenized=rows.rows,
        model=model,
        args=GRPOConfig(
            **{**shared, "train_sampling_strategy": "random"},
            num_generations=recipe.group,
            max_completion_length=1,
            beta=recipe.beta,
            # Divided by its own deviation, every group would have the same reward, whatever the propensity.
            scale_rewards="none",
        ),
        train_dataset=questions,
        reward_funcs=[play_reward],
        processing_class=tokenizer,
        peft_config=adapters(recipe),
        callbacks=[printer(stage)],
    )


def train(stage: Stage, recipe: Grpo) -> Any:
    rows = training_rows(stage, recipe)
    check_batch(recipe, len(rows.rows), int(os.environ.get("WORLD_SIZE", "1")))
    report("grpo", f"{len(rows.rows):,} questions, {rows.too_long} too long, longest {rows.longest} tokens")
    return make_trainer(stage, recipe, rows)
