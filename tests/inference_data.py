"""A random Llama with a small tokenizer like Llama 3's, and literal nights for it to score."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from inference.checkpoint import Checkpoint
from inference.engine import StartEngine
from schemas.contract import Table
from schemas.prompt import LABELS, Choice, Context, Option, Viewing
from schemas.settings import Settings
from schemas.store import create
from schemas.tables import (
    ARTWORK_SELECTIONS,
    EXAMPLES,
    HELD_OUT_CHOICES,
    HELD_OUT_CONTEXTS,
    MADE,
    NIGHT_MODELS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    buckets_kept,
)

DS = date(2026, 1, 5)
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
# Llama 3's: digits are grouped by up to three, and a space before them is a separate token.
LLAMA_3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Qwen's and SmolLM2's: each digit is a token, and a space belongs to the word after it.
QWEN_WORDS = LLAMA_3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "float32",
    "bos_token_id": 0,
    "eos_token_id": 1,
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}


def tokenizer(words: str = LLAMA_3_WORDS, numbers: int = 40) -> Tokenizer:
    """A byte-level BPE with the numbers up to `numbers` as tokens."""
    texts = [
        f"{number}. caption {number} of Film forty drama\nTitle: Answer: {number}" for number in range(1, numbers + 1)
    ]
    return trained(words, texts)


def trained(words: str, texts: list[str]) -> Tokenizer:
    """A byte-level BPE, trained on `texts`, that merges within `words` only."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts * 20, trainer)
    return made


def letter_tokenizer() -> Tokenizer:
    """A byte-level BPE that splits numbers, with a token for each letter that labels an option."""
    texts = [f"{name}. caption of Film drama\nTitle: Answer: {name}" for name in LABELS["letters"].names]
    return trained(QWEN_WORDS, texts)


def make_other_model(folder: Path, **changes: Any) -> Path:
    """A Qwen 2 with random weights and `letter_tokenizer`, without a manifest; `changes` are made to its config."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed

    sizes: dict[str, Any] = {
        key: value for key, value in MODEL.items() if key not in ("architectures", "model_type", "rope_theta")
    }
    set_seed(1)
    Qwen2ForCausalLM(Qwen2Config(**{**sizes, "initializer_range": 0.2})).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    letter_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def make_checkpoint(folder: Path, tokens: Tokenizer | None = None, **config: Any) -> Path:
    """A Llama with random weights, without a manifest."""
    folder.mkdir(parents=True)
    shape = {**MODEL, **config}
    (folder / "config.json").write_text(json.dumps(shape))
    (tokens or tokenizer()).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    save_file(_random_weights(shape), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _random_weights(shape: dict[str, Any]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    hidden, inner, head = shape["hidden_size"], shape["intermediate_size"], shape["head_dim"]
    queries, keys = head * shape["num_attention_heads"], head * shape["num_key_value_heads"]
    weights = {"model.embed_tokens.weight": (shape["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(shape["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        for name, rows, columns in (
            ("self_attn.q_proj", queries, hidden),
            ("self_attn.k_proj", keys, hidden),
            ("self_attn.v_proj", keys, hidden),
            ("self_attn.o_proj", hidden, queries),
            ("mlp.gate_proj", inner, hidden),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ):
            weights[f"{at}.{name}.weight"] = (rows, columns)
        weights[f"{at}.input_layernorm.weight"] = weights[f"{at}.post_attention_layernorm.weight"] = (hidden,)
    # Large enough that the probabilities differ from prompt to prompt.
    return {
        name: np.ones(size, np.float32) if len(size) == 1 else random.normal(0, 0.2, size).astype(np.float32)
        for name, size in weights.items()
    }


def context(themes: str, *viewings: str) -> str:
    return Context(tuple(themes.split(", ")), tuple(map(Viewing, viewings))).text


def choice(name: str, options: int) -> str:
    return Choice(name, tuple(Option(f"caption {number} of {name}") for number in range(1, options + 1))).text


def choice_row(title_id: str, options: int, rotation: int = 0) -> dict[str, Any]:
    artwork_ids = [f"{title_id}-a{number}" for number in range(options)]
    artwork_ids = artwork_ids[rotation:] + artwork_ids[:rotation]
    text = choice(f"{title_id} {rotation}", options)
    row = {"title_id": title_id, "ordering": rotation, "artwork_ids": artwork_ids, "choice": text, "choice_hash": 7}
    return {"ds": DS, **row}


def context_row(user_id: str, bucket: int, text: str, title_ids: Iterable[str]) -> dict[str, Any]:
    pairs = [
        {"title_id": title_id, "ordering": 0, "prompt_hash": len(user_id) + 31 * index}
        for index, title_id in enumerate(title_ids)
    ]
    return {"ds": DS, "bucket": bucket, "user_id": user_id, "context": text, "pairs": pairs}


def make_night(
    warehouse: Path,
    model: Checkpoint,
    contexts: list[dict[str, Any]],
    choices: list[dict[str, Any]],
    buckets: int = 2,
) -> None:
    """Write the tables that exist when scoring begins."""
    for table in (*MADE, ARTWORK_SELECTIONS):
        create(str(warehouse), table, **buckets_kept(table, buckets))
    append(warehouse, NIGHT_MODELS, [{"ds": DS, "model_version": model.version, "checkpoint": str(model.path)}])
    append(warehouse, USER_CONTEXTS, contexts)
    append(warehouse, TITLE_CHOICES, choices)


def make_questions(warehouse: Path, contexts: list[dict[str, Any]], choices: list[dict[str, Any]]) -> None:
    """Write a night's rows as held-out questions, in one bucket."""
    for table in EXAMPLES:
        create(str(warehouse), table, **buckets_kept(table, 1))
    questions = []
    for row in contexts:
        pairs = [{"choice_key": pair["title_id"], **pair} for pair in row["pairs"]]
        questions.append({**row, "bucket": 0, "context_key": row["user_id"], "pairs": pairs})
    append(warehouse, HELD_OUT_CONTEXTS, questions)
    append(warehouse, HELD_OUT_CHOICES, [{**row, "choice_key": row["title_id"]} for row in choices])


def append(warehouse: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        batch = pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema())
        write_deltalake(str(warehouse / table.name), batch, mode="append")


def stored(warehouse: Path, table: Table, *key: str) -> list[dict[str, Any]]:
    """The rows of a table, sorted by `key`."""
    rows = DeltaTable(str(warehouse / table.name)).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: [row[column] for column in key])


def settings_for(warehouse: Path, **values: Any) -> Settings:
    return Settings(warehouse=str(warehouse), cpu_cache_gib=1, **values)


def running(engine: Any) -> StartEngine:
    """Returns a running engine, or a stand-in, instead of starting one."""
    return lambda *_: engine


def no_engine(*_: object) -> Any:
    """Instead of starting an engine, for tests that need none."""
    pytest.fail("an engine was started for nothing")
