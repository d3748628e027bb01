"""The common part of every recipe around its trainer: begin or resume, report the loss, merge, write the checkpoint.

A stage's folder contains `trainer/` (the run's record and the trainer's checkpoints) and, at the end, the merged
checkpoint. `marquee.json` is written last: its existence means that the stage is done.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.checkpoint import MANIFEST, Checkpoint, check_name, read_checkpoint
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.events import report
from training.data import Source
from training.merge import LOSSES, write_merged
from training.settings import Common, as_record

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

_STATE = "trainer_state.json"
WORK, RECORD = "trainer", "run.json"
"""Folder of a stage with the trainer's own files, and the file in it with what the run was asked for."""
_SHOWN = ("loss", "label_mass", "rewards/accuracies", "reward")


@dataclass(frozen=True)
class Stage:
    """One stage of post-training: `name` (sft, dpo, …) from `base` to the folder `out`."""

    name: str
    base: Checkpoint
    out: Path
    recipe: Common
    source: Source
    called: str | None = None
    """The name under which its scores are published; by default the base's name with the stage's."""

    @property
    def published(self) -> str:
        return self.called or f"{self.base.name}-{self.name}"

    @property
    def work(self) -> Path:
        return self.out / WORK

    @cached_property
    def tokens(self) -> Tokens:
        """The base's tokenizer. Cached: a Llama 3's takes a second to read, and the label prior uses it many times."""
        return Tokens(self.base)

    @property
    def limit(self) -> int:
        """Most tokens of a prompt: one more is generated, as in scoring."""
        return self.base.max_model_len - 1


def begin(stage: Stage) -> Stage | None:
    """The stage to train, with the table versions that an earlier try of it read; None if it is done.

    Raises ContractError if the folder contains another run, or if the name is invalid.
    """
    check_name(stage.published)
    record = stage.work / RECORD
    wanted = {
        "stage": stage.name,
        "name": stage.published,
        "base": stage.base.version,
        "ds": str(stage.source.ds),
        "settings": as_record(stage.recipe),
        "signals": list(stage.source.signals),
    }
    if not record.exists():
        if (stage.out / MANIFEST).exists():
            raise ContractError(f"{stage.out}: has a checkpoint that this command did not make; give another --out")
        return _recorded(stage, wanted)
    found = json.loads(record.read_text())
    # A run that began before ids were noted has none.
    versions, table_ids = found.pop("versions"), found.pop("table_ids", stage.source.table_ids)
    if found != wanted:
        raise ContractError(
            f"{stage.out}: has a run that differs in {_differing(found, wanted)} ({record}); give another --out or "
            "remove it"
        )
    if (stage.out / MANIFEST).exists():
        return None
    if last_checkpoint(stage.work) is None:
        # Nothing learned is lost. With the noted versions, a run refused for its examples would be refused forever.
        return _recorded(stage, wanted)
    return replace(stage, source=replace(stage.source, versions=versions, table_ids=table_ids))


def _recorded(stage: Stage, wanted: dict[str, Any]) -> Stage:
    """The stage, after recording the versions that it reads."""
    # Only the first of the processes that accelerate starts writes records.
    if os.environ.get("RANK", "0") == "0":
        stage.work.mkdir(parents=True, exist_ok=True)
        noted = {"versions": stage.source.versions, "table_ids": stage.source.table_ids}
        _write_whole(stage.work / RECORD, {**wanted, **noted})
    return stage


def _differing(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The keys and settings in which two records differ, with both values."""
    there, now = (
        {**record, "settings": None, **{f"settings.{name}": value for name, value in record["settings"].items()}}
        for record in (found, wanted)
    )
    keys = [key for key in dict.fromkeys([*now, *there]) if there.get(key) != now.get(key)]
    return ", ".join(f"{key} ({there.get(key)!r} there, {now.get(key)!r} now)" for key in keys)


def last_checkpoint(work: Path) -> str | None:
    """The newest complete checkpoint of the trainer; None if there is none. A checkpoint that was being written when
    the run was killed is skipped: its state file, which is written last, is missing or truncated.
    """
    for folder in sorted(work.glob("checkpoint-*"), key=lambda each: -int(each.name.partition("-")[2])):
        try:
            json.loads((folder / _STATE).read_text())
        except (OSError, ValueError):
            continue
        return str(folder)
    return None


def load_base(checkpoint: Checkpoint) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model, in float32 on a CPU and bfloat16 on a GPU, and a tokenizer that the trainer uses only for padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=dtype)
    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint.path)
    # Trainers require both tokens; no prompt or answer contains either.
    if tokenizer.eos_token is None:
        ends = model.config.eos_token_id
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0] if isinstance(ends, list) else ends)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def adapters(recipe: Common) -> LoraConfig:
    """LoRA on every linear layer except the output layer, whose rows for the option numbers the embedding shares."""
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        exclude_modules=["lm_head"],
        task_type="CAUSAL_LM",
    )


def trainer_arguments(stage: Stage) -> dict[str, Any]:
    """Arguments of every trainer."""
    import torch

    recipe = stage.recipe
    return {
        "output_dir": str(stage.work),
        "learning_rate": recipe.learning_rate,
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulate,
        "warmup_steps": recipe.warm_up,
        "lr_scheduler_type": "cosine",
        "save_strategy": "steps",
        "save_steps": recipe.save_steps,
        "save_total_limit": 2,
        # A logged loss is a mean since the last log, and a kill loses the sum since then. So every checkpoint falls on
        # a step that logs.
        "logging_steps": math.gcd(10, recipe.save_steps),
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        # In the order of training/data.py.
        "train_sampling_strategy": "sequential",
        "bf16": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": torch.cuda.is_available(),
        "disable_tqdm": True,
        "report_to": "none",
        # Cut nothing: prompts already fit, as in scoring.
        "max_length": None,
    }


def run(stage: Stage, trainer: Any, measure: Callable[[nn.Module], dict[str, Any]]) -> Checkpoint | None:
    """Train from the last checkpoint on, merge, and write the checkpoint; `measure` returns its label prior.

    Of the processes that accelerate starts, each with the whole model, only the first writes it; the others get None.
    """
    from transformers import PrinterCallback

    # `printer` reports the logs instead.
    trainer.remove_callback(PrinterCallback)
    if _steps(trainer) == 1:
        # The first step of a warm-up has learning rate 0: a run of one step would learn nothing.
        trainer.args.warmup_steps = 0
    trainer.train(resume_from_checkpoint=last_checkpoint(stage.work))
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    losses = [{"stage": stage.name, "step": int(entry["step"]), "loss": float(entry["loss"])} for entry in steps]
    if not trainer.is_world_process_zero():
        return None
    earlier = stage.base.path / LOSSES
    before = json.loads(earlier.read_text()) if earlier.exists() else []
    merged = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload()
    merged.eval()
    prior = measure(merged)
    return write_merged(merged, stage.base, stage.out, stage.published, before + losses, prior, stage.source.signals)


def _steps(trainer: Any) -> int:
    """The number of times that the weights will change."""
    epochs: float = trainer.args.num_train_epochs
    batches, at_once = len(trainer.get_train_dataloader()), int(trainer.args.gradient_accumulation_steps)
    return math.ceil(epochs * math.ceil(batches / at_once))


def printer(stage: Stage) -> TrainerCallback:
    """A callback that reports step, loss and remaining time whenever the trainer logs."""
    from transformers import TrainerCallback

    class Printer(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            self.began, self.first = time.monotonic(), state.global_step
            if self.first:
                report(stage.name, f"resuming from step {self.first}", step_number=self.first)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
            if not state.is_world_process_zero or not logs or "loss" not in logs:
                return
            passed = time.monotonic() - self.began
            left = passed / max(1, state.global_step - self.first) * (state.max_steps - state.global_step)
            shown = {key: float(logs[key]) for key in _SHOWN if key in logs}
            values = "  ".join(f"{key} {value:.4f}" for key, value in shown.items())
            report(
                stage.name,
                f"step {state.global_step}/{state.max_steps}  {values}  {passed:.0f} s, {left:.0f} s left",
                step_number=state.global_step,
                steps=state.max_steps,
                **shown,
            )

    return Printer()


def done_already(stage: Stage) -> None:
    report(stage.name, f"{stage.out} is already done ({read_checkpoint(stage.out).version})")


def _write_whole(file: Path, content: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.rename(file)
