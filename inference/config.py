"""config.json of a checkpoint: the shape of a language model, checked so that vLLM and transformers read it alike.

Both fill in missing keys and ignore unknown ones. With a config.json that lacks a size, or has a key that only one of
them reads, training and scoring would use different models. A Llama's keys are all known and checked; of other
architectures, those that all of them share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.json_file import is_number, is_positive, is_size, is_whole, read_object, refusal
from inference.rope import ROPE_KEYS, SAVED_WITH_THE_WEIGHTS, check_rope
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
# Keys that change a model's answers in vLLM, but in training only if the whole model computes them, and the value that
# has no effect: training applies the output layer itself.
_AFTER_THE_MODEL: dict[str, Any] = {
    "is_encoder_decoder": False,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
    "final_logit_softcapping": None,
    "head_dtype": None,
    "text_config": None,
    "compression_config": None,
}
# Keys that do not belong to a Llama but that vLLM or transformers read, and the value that has no effect.
_FOREIGN: dict[str, Any] = {
    **_AFTER_THE_MODEL,
    "is_causal": True,
    "bias": False,
    "qkv_bias": False,
    "partial_rotary_factor": 1.0,
    "layer_types": None,
    "sliding_window": None,
    "attention_chunk_size": None,
    "original_max_position_embeddings": None,
    "auto_map": None,
}
_LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
# Written by llm-compressor; docs/scaling.md says how to quantize a checkpoint.
_QUANTIZED = {"quant_method": "compressed-tensors", "format": "float-quantized"}


@dataclass(frozen=True)
class Config:
    """The checked content of a config.json; lengths and sizes are in tokens."""

    max_position_embeddings: int
    vocab_size: int
    layers: int
    bos_token_id: int
    eos_token_ids: tuple[int, ...]
    dtype: str | None
    """One of DTYPES."""
    quantized: bool


def read_config(folder: Path) -> Config:
    """The config.json of the checkpoint in `folder`. Raises ContractError if no model can score with it."""
    file = folder / CONFIG
    return _Reader(file, read_object(file, "a checkpoint is a folder in the Hugging Face format")).config()


@dataclass(frozen=True)
class _Reader:
    file: Path
    content: dict[str, Any]

    def config(self) -> Config:
        is_llama = self._is_llama()
        self._check_sizes()
        self._check_flags_and_shares(is_llama)
        self._check_absent(_FOREIGN if is_llama else _AFTER_THE_MODEL)
        self._check_lengths()
        if is_llama:
            self._check_heads()
        else:
            self._check_window()
        if is_llama or any(key in self.content for key in ROPE_KEYS):
            check_rope(self.file, self.content)
        return Config(
            max_position_embeddings=self.content["max_position_embeddings"],
            vocab_size=self.content["vocab_size"],
            layers=self.content["num_hidden_layers"],
            bos_token_id=self._token("bos_token_id"),
            eos_token_ids=self._ends(),
            dtype=self._dtype(),
            quantized=self._quantized(),
        )

    def _refuse(self, found: str, expected: str, remedy: str = SAVED_WITH_THE_WEIGHTS) -> ContractError:
        return refusal(self.file, found, expected, remedy)

    def _found(self, key: str) -> str:
        return f"{key} is {self.content[key]!r}" if key in self.content else f"{key} is missing"

    def _is_llama(self) -> bool:
        """Whether it is a Llama. Raises ContractError if it is no causal language model."""
        named = self.content.get("architectures")
        if not (isinstance(named, list) and len(named) == 1 and str(named[0]).endswith("ForCausalLM")):
            remedy = "take a causal language model, saved by transformers' save_pretrained"
            raise self._refuse(self._found("architectures"), "one that ends in ForCausalLM", remedy)
        of_llama = [key for key, value in _LLAMA.items() if self.content.get(key) == value]
        if not of_llama:
            return False
        for key, value in _LLAMA.items():
            if key not in of_llama:
                raise self._refuse(self._found(key), f"{value!r}, as {self._found(of_llama[0])}")
        if self.content.get("hidden_act", "silu") != "silu":
            raise self._refuse(self._found("hidden_act"), "'silu', the only one that vLLM's Llama has")
        return True

    def _check_sizes(self) -> None:
        for key in _SIZES:
            if not is_size(self.content.get(key)):
                raise self._refuse(self._found(key), "a whole number above 0")
        for key in _OPTIONAL_SIZES:
            if self.content.get(key) is not None and not is_size(self.content[key]):
                raise self._refuse(self._found(key), "a whole number above 0, or null")
        if self.content.get("pad_token_id") is not None:
            self._token("pad_token_id")

    def _check_flags_and_shares(self, is_llama: bool) -> None:
        for key in _FLAGS:
            if not isinstance(self.content.get(key, False), bool):
                raise self._refuse(self._found(key), "true or false")
        eps = self.content.get("rms_norm_eps")
        if (is_llama or eps is not None) and not (isinstance(eps, float) and is_positive(eps)):
            raise self._refuse(self._found("rms_norm_eps"), "a fraction above 0")
        for key in ("initializer_range", "attention_dropout"):
            if not is_number(share := self.content.get(key, 0)) or not 0 <= share <= 1:
                raise self._refuse(self._found(key), "a number from 0 to 1")

    def _check_absent(self, keys: dict[str, Any]) -> None:
        for key, harmless in keys.items():
            if self.content.get(key) not in (None, harmless):
                raise self._refuse(
                    self._found(key),
                    "no such key: scoring and training do not both apply it",
                    "remove it if the weights were trained without it, else use another model",
                )

    def _check_lengths(self) -> None:
        length = self.content["max_position_embeddings"]
        for key in _OTHER_LENGTHS:
            if self.content.get(key) not in (None, length):
                raise self._refuse(
                    self._found(key), f"max_position_embeddings, {length}, as vLLM takes the smaller", "remove it"
                )

    def _check_window(self) -> None:
        """In a longer prompt some layers would not see the beginning, and vLLM's prefix cache would forget it."""
        length = self.content["max_position_embeddings"]
        windows = ("sliding_window",) if self.content.get("use_sliding_window", True) else ()
        for key in (*windows, "attention_chunk_size"):
            window = self.content.get(key)
            if window is not None and window < length:
                raise self._refuse(
                    self._found(key),
                    f"none, or at least max_position_embeddings, {length}",
                    f"set max_position_embeddings to {window}, so that no prompt is longer than the window",
                )

    def _check_heads(self) -> None:
        heads, hidden = self.content["num_attention_heads"], self.content["hidden_size"]
        if hidden % heads:
            raise self._refuse(f"num_attention_heads is {heads}", f"a number that divides hidden_size, {hidden}")
        if heads % (self.content.get("num_key_value_heads") or heads):
            raise self._refuse(
                self._found("num_key_value_heads"), f"a number that divides num_attention_heads, {heads}"
            )
        head_dim = self.content.get("head_dim") or hidden // heads
        if head_dim % 2:
            raise self._refuse(f"the size of a head (head_dim) is {head_dim}", "an even number")

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
