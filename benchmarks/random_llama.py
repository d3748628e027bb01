"""A Llama of about 10 M parameters with random weights and the tiny Llama's tokenizer: for speed, not for choices."""

from __future__ import annotations

import shutil
from pathlib import Path

from inference.checkpoint import Checkpoint, write_manifest

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def make_random_llama(folder: Path, like: Checkpoint) -> Checkpoint:
    """Write it to a new folder. It takes the vocabulary, the lengths and the special tokens of `like`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(like.path)
    # 7 layers of 1.27 M and 2,560 embeddings, tied: 9.7 M in all.
    config.update({"hidden_size": 320, "intermediate_size": 896, "num_hidden_layers": 7})
    # Initialised so widely, its probabilities differ from prompt to prompt.
    config.update({"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 64, "initializer_range": 0.1})
    model = LlamaForCausalLM(config)
    model.to(torch.float32).save_pretrained(folder)  # type: ignore[arg-type]
    for name in TOKENIZER_FILES:
        shutil.copy(like.path / name, folder / name)
    return write_manifest(folder, "random-10m")
