"""Llamas with random weights and the tiny Llama's tokenizer: for speed and memory, not for choices."""

from __future__ import annotations

import shutil
from pathlib import Path

from inference.checkpoint import Checkpoint, read_checkpoint, write_manifest
from schemas.settings import settings

TINY = "tiny"
"""What benchmarks call the checkpoint of the settings, which is the tiny Llama unless one is named."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
SHAPES = {
    # 7 layers of 1.27 M and 2,560 embeddings, tied: 9.7 M in all.
    "random-10m": {
        "hidden_size": 320,
        "intermediate_size": 896,
        "num_hidden_layers": 7,
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "head_dim": 64,
    },
    # 2 layers of 0.04 M and the embeddings: as fast as a model of this kind can be.
    "random-tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
    },
}


def model_called(name: str, folder: Path) -> Checkpoint:
    """The checkpoint of the settings where `name` is `tiny`, else the one of SHAPES, made below `folder`."""
    checkpoint = read_checkpoint(settings().model)
    return checkpoint if name == TINY else make_random_llama(folder / name, checkpoint, name)


def make_random_llama(folder: Path, like: Checkpoint, shape: str) -> Checkpoint:
    """Write one of SHAPES to a new folder. It takes the vocabulary, the lengths and the special tokens of `like`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(like.path)
    # Initialised so widely, its probabilities differ from prompt to prompt.
    config.update({**SHAPES[shape], "initializer_range": 0.1})
    model = LlamaForCausalLM(config)
    model.to(torch.float32).save_pretrained(folder)  # type: ignore[arg-type]
    for name in TOKENIZER_FILES:
        shutil.copy(like.path / name, folder / name)
    return write_manifest(folder, shape)
