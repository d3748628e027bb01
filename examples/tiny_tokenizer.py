"""The tiny Llama's tokenizer: byte-level BPE that splits text as Llama 3 does, so that numbers are separate tokens."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from schemas.tables import MAX_ARTWORKS

BEGIN, END, END_OF_TURN = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
BEGIN_ID, END_ID, END_OF_TURN_ID = 0, 1, 2
VOCABULARY = 2560
"""Number of tokens. Nearly every word of the captions is one token; names of titles take several."""

# Llama 3's own expression: words with the character before them, groups of three digits, punctuation, line breaks.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NUMBER_REPEATS = 5_000  # so that each option number becomes one token, however rare long choices are


def train_tokenizer(lines: Iterable[str]) -> Tokenizer:
    """A tokenizer for texts like `lines`, which puts begin-of-text first when it encodes with special tokens."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END, END_OF_TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    numbers = (str(number) for number in range(1, MAX_ARTWORKS + 1) for _ in range(_NUMBER_REPEATS))
    tokenizer.train_from_iterator(chain(lines, numbers), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, BEGIN_ID)])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, max_length: int) -> None:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END_OF_TURN,
        pad_token=END,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)
