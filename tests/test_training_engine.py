"""A merged checkpoint in vLLM answers like the trained model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.checkpoint import Checkpoint
from inference.tokens import Tokens
from tests.conftest import ROOT
from tests.inference_data import choice, context
from tests.training_data import example, make_source
from training import sft
from training.data import prompt_ids
from training.prior import label_logprobs
from training.settings import Sft
from training.stage import Stage, begin, run

pytestmark = pytest.mark.slow

OPTIONS = 6
# A process has one engine, and the shared one has another checkpoint.
ASK = """
import json, sys
from inference.checkpoint import read_checkpoint
from inference.engine import Answer, Engine, Prompt
from inference.tokens import Tokens
from schemas.settings import Settings

if __name__ == "__main__":
    checkpoint = read_checkpoint(sys.argv[1])
    prompts = json.load(open(sys.argv[2]))
    engine = Engine(checkpoint, Settings(cpu_cache_gib=1, max_num_seqs=16), Tokens(checkpoint).labels)
    found = dict(engine.answers(Prompt(place, prompt, int(sys.argv[3])) for place, prompt in enumerate(prompts)))
    assert all(isinstance(answer, Answer) for answer in found.values())
    json.dump([found[place].logprobs for place in range(len(prompts))], open(sys.argv[4], "w"))
"""


def prompts_of(tokens: Tokens) -> list[list[int]]:
    """A fixed sample: short and long histories, several titles."""
    texts = [
        (
            context("drama", *(f"Film {number} ({1980 + user}): comedy" for number in range(user))),
            choice(f"F{user}", OPTIONS),
        )
        for user in range(1, 25)
    ]
    return [ids for ids in (prompt_ids(tokens, *each, limit=1000) for each in texts) if ids]


def engine_logprobs(folder: Path, prompts: list[list[int]], scratch: Path) -> np.ndarray:
    (scratch / "prompts.json").write_text(json.dumps(prompts))
    (scratch / "ask.py").write_text(ASK)
    arguments = [scratch / "ask.py", folder, scratch / "prompts.json", OPTIONS, scratch / "answers.json"]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads((scratch / "answers.json").read_text()))


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_merged_checkpoint_in_vllm_agrees_with_the_trainer(random_checkpoint: Checkpoint, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    source = make_source(tmp_path / "warehouse", [example(number, options=OPTIONS) for number in range(48)])
    recipe = Sft(epochs=4, batch=4, rank=8, alpha=16, learning_rate=5e-3)
    stage = Stage("sft", random_checkpoint, tmp_path / "sft", recipe, source)
    prompts, labels = prompts_of(stage.tokens), stage.tokens.labels[:OPTIONS]
    kept: dict[str, Any] = {}

    def measure(model: Any) -> dict[str, Any]:
        kept["trainer"] = label_logprobs(model, prompts, labels)
        return {"prior": {}}

    begin(stage)
    made = run(stage, sft.train(stage, recipe), measure)
    assert made is not None
    trainer, engine = kept["trainer"], engine_logprobs(made.path, prompts, tmp_path)
    assert (trainer.argmax(axis=1) == engine.argmax(axis=1)).all()
    divergence = (np.exp(trainer) * (trainer - engine)).sum(axis=1)
    assert np.abs(divergence).max() < 1e-4
    assert np.allclose(trainer, engine, atol=1e-3)
    # The training had an effect: the base answers differently.
    base = AutoModelForCausalLM.from_pretrained(random_checkpoint.path, dtype=torch.float32)
    assert not np.allclose(trainer, label_logprobs(base, prompts, labels), atol=0.1)
