"""config.json of a checkpoint: the shape of a Llama, checked so that vLLM and transformers read it alike.

Both fill in missing keys and ignore unknown ones. With a config.json that lacks a size, or has a key that only one of
them reads, training and scoring would use different models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.json_file import is_number, is_positive, is_size, is_whole, read_object, refusal
from inference.rope import SAVED_WITH_THE_WEIGHTS, check_rope
from schemas.contract import ContractError

CONFIG = "config.json"
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Number types of weights: as config.json names them, and as safetensors does."""

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
_OPTIONAL_SIZES = ("num_key_value_heads", "head_dim", "pretraining_tp")
_FLAGS = ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_cache")
# vLLM limits prompts to the smallest of these and max_position_embeddings.
_OTHER_LENGTHS = (
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Keys that do not belong to a Llama but that vLLM or transformers read, and the value that has no effect.
_FOREIGN: dict[str, Any] = {
    "is_causal": True,
    "bias": False,
    "qkv_bias": False,
    "is_encoder_decoder": False,
    "logit_scale": 1.0,
    "partial_rotary_factor": 1.0,
    "layer_types": None,
    "sliding_window": None,
    "attention_chunk_size": None,
    "head_dtype": None,
    "text_config": None,
    "compression_config": None,
    "original_max_position_embeddings": None,
    "auto_map": None,
}
# Written by llm-compressor; docs/scaling.md says how to quantize a checkpoint.
_QUANTIZED = {"quant_method": "compressed-tensors", "format": "float-quantized"}


@dataclass(frozen=True)
class Config:
    """The checked content of a Llama's config.json; lengths and sizes are in tokens."""

    max_position_embeddings: int
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    bos_token_id: int
    eos_token_ids: tuple[int, ...]
    tied: bool
    attention_bias: bool
    mlp_bias: bool
    dtype: str | None
    """One of DTYPES."""
    quantized: bool


def read_config(folder: Path) -> Config:
    """The config.json of the checkpoint in `folder`. Raises ContractError if no Llama can score with it."""
    file = folder / CONFIG
    return _Reader(file, read_object(file, "a checkpoint is a folder in the Hugging Face format")).config()


@dataclass(frozen=True)
class _Reader:
    file: Path
    content: dict[str, Any]

    def config(self) -> Config:
        self._check_model()
        self._check_sizes()
        self._check_flags_and_shares()
        self._check_foreign()
        self._check_lengths()
        check_rope(self.file, self.content)
        heads = self.content["num_attention_heads"]
        config = Config(
            max_position_embeddings=self.content["max_position_embeddings"],
            vocab_size=self.content["vocab_size"],
            hidden_size=self.content["hidden_size"],
            intermediate_size=self.content["intermediate_size"],
            layers=self.content["num_hidden_layers"],
            heads=heads,
            key_value_heads=self.content.get("num_key_value_heads") or heads,
            head_dim=self.content.get("head_dim") or self.content["hidden_size"] // heads,
            bos_token_id=self._token("bos_token_id"),
            eos_token_ids=self._ends(),
            tied=self.content.get("tie_word_embeddings", False),
            attention_bias=self.content.get("attention_bias", False),
            mlp_bias=self.content.get("mlp_bias", False),
            dtype=self._dtype(),
            quantized=self._quantized(),
        )
        self._check_heads(config)
        return config

    def _refuse(self, found: str, expected: str, remedy: str = SAVED_WITH_THE_WEIGHTS) -> ContractError:
        return refusal(self.file, found, expected, remedy)

    def _found(self, key: str) -> str:
        return f"{key} is {self.content[key]!r}" if key in self.content else f"{key} is missing"

    def _check_model(self) -> None:
        remedy = "Marquee scores with Llamas only: take one, saved by transformers' save_pretrained"
        for key, expected in (("model_type", "llama"), ("architectures", ["LlamaForCausalLM"])):
            if self.content.get(key) != expected:
                raise self._refuse(self._found(key), repr(expected), remedy)
        if self.content.get("hidden_act", "silu") != "silu":
            raise self._refuse(self._found("hidden_act"), "'silu', the only one that vLLM's Llama has")

    def _check_sizes(self) -> None:
        for key in _SIZES:
            if not is_size(self.content.get(key)):
                raise self._refuse(self._found(key), "a whole number above 0")
        for key in _OPTIONAL_SIZES:
            if self.content.get(key) is not None and not is_size(self.content[key]):
                raise self._refuse(self._found(key), "a whole number above 0, or null")
        if self.content.get("pad_token_id") is not None:
            self._token("pad_token_id")

    def _check_flags_and_shares(self) -> None:
        for key in _FLAGS:
            if not isinstance(self.content.get(key, False), bool):
                raise self._refuse(self._found(key), "true or false")
        if not isinstance(eps := self.content.get("rms_norm_eps"), float) or not is_positive(eps):
            raise self._refuse(self._found("rms_norm_eps"), "a fraction above 0")
        for key in ("initializer_range", "attention_dropout"):
            if not is_number(share := self.content.get(key, 0)) or not 0 <= share <= 1:
                raise self._refuse(self._found(key), "a number from 0 to 1")

    def _check_foreign(self) -> None:
        for key, harmless in _FOREIGN.items():
            if self.content.get(key) not in (None, harmless):
                raise self._refuse(
                    self._found(key),
                    "no such key: vLLM and transformers do not both apply it to a Llama",
                    "remove it if the weights were trained without it, else use another model",
                )

    def _check_lengths(self) -> None:
        length = self.content["max_position_embeddings"]
        for key in _OTHER_LENGTHS:
            if self.content.get(key) not in (None, length):
                raise self._refuse(
                    self._found(key), f"max_position_embeddings, {length}, as vLLM takes the smaller", "remove it"
                )

    def _check_heads(self, config: Config) -> None:
        heads = config.heads
        if config.hidden_size % heads:
            raise self._refuse(
                f"num_attention_heads is {heads}", f"a number that divides hidden_size, {config.hidden_size}"
            )
        if heads % config.key_value_heads:
            raise self._refuse(
                self._found("num_key_value_heads"), f"a number that divides num_attention_heads, {heads}"
            )
        if config.head_dim % 2:
            raise self._refuse(f"the size of a head (head_dim) is {config.head_dim}", "an even number")

    def _token(self, key: str) -> int:
        return self._in_vocabulary(key, self.content.get(key))

    def _ends(self) -> tuple[int, ...]:
        ends = self.content.get("eos_token_id")
        listed = ends if isinstance(ends, list) and ends else [ends]
        return tuple(self._in_vocabulary("eos_token_id", each) for each in listed)

    def _in_vocabulary(self, key: str, value: Any) -> int:
        size = self.content["vocab_size"]
        if not is_whole(value) or not 0 <= value < size:
            raise self._refuse(self._found(key), f"a token id from 0 to {size - 1} (vocab_size is {size})")
        return int(value)

    def _dtype(self) -> str | None:
        named = [self.content[key] for key in ("dtype", "torch_dtype") if self.content.get(key) is not None]
        if any(each not in list(DTYPES) or each != named[0] for each in named):
            raise self._refuse(f"dtype is {' and '.join(map(repr, named))}", f"one of {', '.join(DTYPES)}")
        return named[0] if named else None

    def _quantized(self) -> bool:
        found = self.content.get("quantization_config")
        if found is None:
            return False
        if not isinstance(found, dict) or any(found.get(key) != value for key, value in _QUANTIZED.items()):
            raise self._refuse(
                f"quantization_config is {found!r}",
                " and ".join(f"{key} {value!r}" for key, value in _QUANTIZED.items()),
                "quantize the merged checkpoint as docs/scaling.md says, or use the unquantized one",
            )
        return True
