"""The manifest of a checkpoint: the model's version, and whether it may score."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, processors

from evaluation.models import version_of
from inference.checkpoint import read_checkpoint, write_manifest
from inference.rotations import averaged
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from tests.conftest import RunMarquee
from tests.inference_data import LLAMA_3_WORDS, letter_tokenizer, make_checkpoint, make_other_model, tokenizer

MISSING = object()
"""In a change: remove the key."""
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
INDEX = "model.safetensors.index.json"
Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "llama")


def edit(file: Path, **change: Any) -> None:
    """Change keys of a JSON file; the key `model.dropout` is in the object `model`."""
    content = json.loads(file.read_text()) if file.exists() else {}
    for path, value in change.items():
        *above, key = path.split(".")
        inner = content
        for each in above:
            inner = inner[each]
        inner[key] = value
        if value is MISSING:
            del inner[key]
    file.write_text(json.dumps(content))


def edit_weights(folder: Path, change: Callable[[Weights], Any]) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def shard(folder: Path, **moved: str) -> None:
    """Spread the weights over two files and an index; then list each tensor of `moved` in another file."""
    whole = folder / "model.safetensors"
    weights = load_file(whole)
    whole.unlink()
    listed = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(sorted(weights))}
    for file in set(listed.values()):
        save_file({name: value for name, value in weights.items() if listed[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {**listed, **moved}}))


def refused(folder: Path, message: str) -> None:
    """Check that no manifest is written, and that one sentence says why and what to do."""
    with pytest.raises(ContractError) as raised:
        write_manifest(folder, "tiny")
    printed = str(raised.value)
    assert message in printed
    assert printed.startswith(str(folder))
    assert re.fullmatch(r"[^\n]+; [^\n]+[^.]", printed)
    assert not (folder / "marquee.json").exists()


def test_a_written_manifest_is_read_back(folder: Path) -> None:
    written = write_manifest(folder, "tiny")
    assert read_checkpoint(folder) == written
    assert (written.name, written.max_model_len, written.vocab_size, written.bos_token_id) == ("tiny", 1024, 512, 0)
    assert written.version.startswith("tiny@")
    assert len(written.version) == len("tiny@") + 12


def test_the_version_follows_the_content_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    first = write_manifest(folder, "tiny").version
    assert write_manifest(make_checkpoint(tmp_path / "again"), "tiny").version == first
    (folder / "README.md").write_text("Notes do not score.")
    assert write_manifest(folder, "tiny").version == first
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert write_manifest(folder, "tiny").version != first


@pytest.mark.parametrize("name", ["", "a/b", "it's", "two words", ".hidden", "a@b"])
def test_a_name_that_cannot_stand_in_a_version_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ContractError, match="cannot begin a model's version"):
        write_manifest(folder, name)


def test_a_folder_means_its_version_also_for_scores_averaged_over_rotations(folder: Path) -> None:
    version = write_manifest(folder, "tiny").version
    assert version_of(str(folder)) == version
    assert version_of(f"{folder}+orders4") == averaged(version, 4)
    for name in ("most_popular", version, averaged(version, 4)):
        assert version_of(name) == name


def test_files_that_changed_since_are_named(folder: Path) -> None:
    write_manifest(folder, "tiny")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ContractError, match=r"model\.safetensors changed since .* --name tiny`$"):
        read_checkpoint(folder)


def test_the_command_in_the_error_keeps_the_signals(folder: Path, marquee: RunMarquee) -> None:
    """Without them a night would silently score prompts that lack signals the model was trained with."""
    write_manifest(folder, "tiny", ["play_rate", "taste_group"])
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(ContractError) as raised:
        read_checkpoint(folder)
    _, _, command = str(raised.value).partition("`marquee ")
    assert marquee(*command.rstrip("`").split()) == 0
    assert read_checkpoint(folder).signals == ("play_rate", "taste_group")


def test_a_signal_that_no_setting_knows_is_refused(folder: Path, marquee: RunMarquee) -> None:
    assert marquee("models", "manifest", str(folder), "--name", "tiny", "--signal", "play_rates") == REFUSED
    assert not (folder / "marquee.json").exists()


def test_errors_name_missing_files_and_the_remedy(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="set MARQUEE_MODEL"):
        read_checkpoint(tmp_path / "nowhere")
    with pytest.raises(ContractError, match=r"`marquee models manifest .*llama --name"):
        read_checkpoint(folder)
    write_manifest(folder, "tiny")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ContractError, match=r"tokenizer\.json: the file is missing"):
        read_checkpoint(folder)


@pytest.mark.parametrize("version", ["tiny", "tiny@1", "x' OR '1'='1@0123456789ab", "../tiny@0123456789ab"])
def test_a_version_that_was_edited_by_hand_does_not_score(folder: Path, version: str) -> None:
    """Versions are names of folders and appear in SQL."""
    write_manifest(folder, "tiny")
    manifest = json.loads((folder / "marquee.json").read_text())
    (folder / "marquee.json").write_text(json.dumps({**manifest, "version": version}))
    with pytest.raises(ContractError, match="expected a name, @ and 12 hexadecimal digits"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"signals": None}, "signals is None, expected a list of names among play_rate, taste_group"),
        ({"signals": "play_rate"}, "signals is 'play_rate', expected a list"),
        ({"signals": ["nope"]}, r"signals is \['nope'\], expected a list"),
        ({"labels": "words"}, r"labels is 'words', expected one of numbers, letters"),
        ({"files": {"config.json": 1}}, r"the entry of config\.json is 1, expected its bytes and sha256"),
    ],
)
def test_a_manifest_that_was_edited_by_hand_does_not_score(folder: Path, change: dict[str, Any], sentence: str) -> None:
    write_manifest(folder, "tiny")
    manifest = json.loads((folder / "marquee.json").read_text())
    (folder / "marquee.json").write_text(json.dumps(manifest | change))
    with pytest.raises(ContractError, match=sentence):
        read_checkpoint(folder)


def test_a_model_of_another_prompt_format_does_not_score(folder: Path) -> None:
    write_manifest(folder, "tiny")
    manifest = json.loads((folder / "marquee.json").read_text())
    (folder / "marquee.json").write_text(json.dumps({**manifest, "prompt_format": "marquee-0"}))
    with pytest.raises(ContractError, match="trained on prompt format 'marquee-0'"):
        read_checkpoint(folder)


def test_the_command_prints_the_version_or_the_error(
    folder: Path, tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee("models", "manifest", str(folder), "--name", "tiny") == 0
    assert capsys.readouterr().out.strip() == read_checkpoint(folder).version
    assert marquee("models", "manifest", str(tmp_path / "nowhere"), "--name", "tiny") == REFUSED
    assert "no checkpoint folder" in capsys.readouterr().err


# Changes of config.json, and the messages.
CONFIG_FAULTS: list[tuple[dict[str, Any], str]] = [
    (
        {"model_type": "mistral"},
        "model_type is 'mistral', expected 'llama', as architectures is ['LlamaForCausalLM']; use",
    ),
    ({"architectures": ["MistralForCausalLM"]}, "architectures is ['MistralForCausalLM'], expected ['LlamaFor"),
    ({"architectures": MISSING}, "architectures is missing, expected one that ends in ForCausalLM; take a causal lang"),
    ({"architectures": ["LlamaForTokenClassification"]}, "expected one that ends in ForCausalLM; take a causal lang"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu', expected 'silu'"),
    ({"max_position_embeddings": MISSING}, "max_position_embeddings is missing, expected a whole number above 0"),
    ({"max_position_embeddings": 0}, "max_position_embeddings is 0, expected a whole number above 0"),
    ({"max_position_embeddings": 1024.0}, "max_position_embeddings is 1024.0, expected a whole number above 0"),
    ({"vocab_size": -512}, "vocab_size is -512, expected a whole number above 0"),
    ({"vocab_size": True}, "vocab_size is True, expected a whole number above 0"),
    (
        {"vocab_size": 300},
        "has 323 tokens, the model only 300 (vocab_size in config.json): they do not belong together",
    ),
    ({"num_hidden_layers": "2"}, "num_hidden_layers is '2', expected a whole number above 0"),
    ({"num_hidden_layers": 3}, "the weights have 2 layers (model.layers.0, …), expected 3, which is num_hidden_layers"),
    ({"num_hidden_layers": 1}, "the weights have 2 layers (model.layers.0, …), expected 1, which is num_hidden_layers"),
    ({"num_hidden_layers": 10**12}, "the weights have 2 layers (model.layers.0, …), expected 1000000000000"),
    ({"num_attention_heads": 3}, "num_attention_heads is 3, expected a number that divides hidden_size, 64"),
    ({"num_attention_heads": 4, "num_key_value_heads": 3}, "num_key_value_heads is 3, expected a number that divides"),
    ({"head_dim": 31}, "the size of a head (head_dim) is 31, expected an even number"),
    ({"head_dim": "32"}, "head_dim is '32', expected a whole number above 0, or null"),
    ({"intermediate_size": 127}, "model.layers.0.mlp.gate_proj.weight is of shape 128 × 64, expected 127 × 64"),
    ({"rms_norm_eps": MISSING}, "rms_norm_eps is missing, expected a fraction above 0"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan, expected a fraction above 0"),
    ({"attention_dropout": "none"}, "attention_dropout is 'none', expected a number from 0 to 1"),
    ({"attention_bias": "no"}, "attention_bias is 'no', expected true or false"),
    (
        {"attention_bias": True},
        "self_attn.k_proj.bias, model.layers.0.self_attn.o_proj.bias, model.layers.0.self_attn.q",
    ),
    ({"mlp_bias": True}, "model.layers.0.mlp.down_proj.bias, "),
    ({"bos_token_id": MISSING}, "bos_token_id is missing, expected a token id from 0 to 511 (vocab_size is 512)"),
    ({"bos_token_id": None}, "bos_token_id is None, expected a token id from 0 to 511"),
    ({"bos_token_id": "0"}, "bos_token_id is '0', expected a token id from 0 to 511"),
    ({"bos_token_id": [0]}, "bos_token_id is [0], expected a token id from 0 to 511"),
    ({"bos_token_id": 512}, "bos_token_id is 512, expected a token id from 0 to 511"),
    ({"bos_token_id": 100}, "expected a special token, as config.json has it for bos_token_id or eos_token_id"),
    ({"eos_token_id": MISSING}, "eos_token_id is missing, expected a token id from 0 to 511"),
    ({"eos_token_id": [1, -1]}, "eos_token_id is [1, -1], expected a token id from 0 to 511"),
    ({"eos_token_id": []}, "eos_token_id is [], expected a token id from 0 to 511"),
    ({"eos_token_id": 511}, "token 511 is None, expected a special token"),
    ({"pad_token_id": 512}, "pad_token_id is 512, expected a token id from 0 to 511"),
    ({"tie_word_embeddings": None}, "tie_word_embeddings is None, expected true or false"),
    (
        {"tie_word_embeddings": False},
        "lm_head.weight is missing from the weights, expected one, as tie_word_embeddings",
    ),
    ({"tie_word_embeddings": MISSING}, "lm_head.weight is missing from the weights, expected one, as tie_word_embed"),
    ({"dtype": "bfloat16"}, "dtype is 'bfloat16', but the weights are F32, expected the same type"),
    ({"dtype": "int8"}, "dtype is 'int8', expected one of float32, float16, bfloat16"),
    ({"torch_dtype": "float16"}, "dtype is 'float32' and 'float16', expected one of float32, float16, bfloat16"),
    ({"is_causal": False}, "is_causal is False, expected no such key: scoring and training do not both apply it"),
    ({"logit_scale": 0.5}, "logit_scale is 0.5, expected no such key"),
    ({"sliding_window": 128}, "sliding_window is 128, expected no such key"),
    ({"auto_map": {"AutoModel": "mine.Llama"}}, "auto_map is {'AutoModel': 'mine.Llama'}, expected no such key"),
    ({"model_max_length": 512}, "model_max_length is 512, expected max_position_embeddings, 1024, as vLLM takes the"),
    (
        {"quantization_config": {"quant_method": "gptq"}},
        "quantization_config is {'quant_method': 'gptq'}, expected quant",
    ),
    ({"rope_theta": MISSING}, "rope_theta is missing, expected one number above 0"),
    ({"rope_theta": "1e4"}, "rope_theta is '1e4', expected one number above 0"),
    ({"rope_parameters": {"rope_theta": 5e5}}, "rope_theta is 500000.0 and 10000.0, expected one number above 0"),
    ({"rope_scaling": [1]}, "rope_scaling is [1], expected an object with rope_type"),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type is 'yarn', expected 'default' or 'llama3'"),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type is 'dynamic', expected 'default' or 'llama3'"),
    ({"rope_scaling": {"rope_type": "llama3", "type": "default"}}, "rope_type is 'llama3' and 'default', expected"),
    (
        {"rope_scaling": {"factor": 2.0}},
        "rope_type 'default' comes with factor, expected just rope_theta",
    ),
    (
        {"rope_scaling": {key: value for key, value in LLAMA_3_ROPE.items() if key != "factor"}},
        "rope_type 'llama3' lacks factor, expected just factor, low_freq_factor, high_freq_factor, ",
    ),
    ({"rope_scaling": {**LLAMA_3_ROPE, "factor": "8"}}, "factor is '8', expected a number above 0"),
    (
        {"rope_scaling": {**LLAMA_3_ROPE, "low_freq_factor": 4.0}},
        "low_freq_factor is 4.0, expected less than high_freq",
    ),
    (
        {"rope_scaling": {**LLAMA_3_ROPE, "original_max_position_embeddings": 8e3}},
        "max_position_embeddings is 8000.0, exp",
    ),
    (
        {"rope_scaling": LLAMA_3_ROPE, "rope_parameters": {"rope_type": "default"}},
        "rope_parameters and rope_scaling diff",
    ),
]
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
FIXED = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_id": 1, "pad_type_id": 0, "pad_token": "<|end_of_text|>"}
PADDING = {**FIXED, "pad_to_multiple_of": None}
TRUNCATION = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}
# Changes of tokenizer.json, and the messages.
TOKENIZER_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"padding": PADDING}, 'which lengthens short lines, expected null; set "padding" in the file to null'),
    ({"truncation": TRUNCATION}, 'which cuts long lines, expected null; set "truncation" in the file to null'),
    ({"model.dropout": 0.1}, "dropout is 0.1"),
    ({"normalizer": {"type": "Lowercase"}}, "'A' comes back from its tokens as 'a' (the normalizer makes 'a' of it)"),
    ({"normalizer": {"type": "StripAccents"}}, "(the normalizer makes "),
    ({"normalizer": {"type": "NFC"}}, "(the normalizer makes "),
    ({"normalizer": {"type": "NFKC"}}, "(the normalizer makes "),
    ({"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}}, "(the normalizer makes '' of it)"),
    (
        {"normalizer": {"type": "Replace", "pattern": {"String": "\n"}, "content": " "}},
        "'\\n' comes back from its tokens as ' ' (the normalizer makes ' ' of it), expected unchanged; use a byte-",
    ),
    ({"pre_tokenizer": {"type": "Whitespace"}}, "comes back from its tokens as"),
    ({"pre_tokenizer": BYTE_LEVEL}, "comes back from its tokens as"),
    ({"decoder": None}, "comes back from its tokens as"),
    ({"model.vocab.é": MISSING}, "'頀' comes back from its tokens as '��', expected unchanged"),
    ({"added_tokens": []}, "token 0 is '<|begin_of_text|>', expected a special token"),
    ({"model": {"type": "BPE"}}, "not a tokenizer that can be read"),
]


@pytest.mark.parametrize(("change", "message"), CONFIG_FAULTS)
def test_a_config_that_contradicts_itself_or_the_rest_gets_no_manifest(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    edit(folder / "config.json", **change)
    refused(folder, message)


@pytest.mark.parametrize(("change", "message"), TOKENIZER_FAULTS)
def test_a_tokenizer_that_loses_text_gets_no_manifest(folder: Path, change: dict[str, Any], message: str) -> None:
    edit(folder / "tokenizer.json", **change)
    refused(folder, message)


def test_the_first_number_and_letter_that_are_not_one_token_are_named(tmp_path: Path) -> None:
    nine = make_checkpoint(tmp_path / "nine", tokenizer(numbers=9))
    refused(nine, "tokenizer.json: 'Answer: 10' is [")
    refused(nine, " and 'Answer: A' is [")
    # GPT-2 joins the space to the number, so another token follows `Answer: `.
    glued = tokenizer(words=LLAMA_3_WORDS.replace(r"\p{N}{1,3}", r" ?\p{N}{1,3}"))
    refused(make_checkpoint(tmp_path / "glued", glued), "tokenizer.json: 'Answer: 1' is [")


def test_options_are_labelled_by_letters_where_the_tokenizer_splits_numbers(folder: Path, tmp_path: Path) -> None:
    assert write_manifest(folder, "numbers").labels == "numbers"
    written = write_manifest(make_checkpoint(tmp_path / "letters", letter_tokenizer()), "letters")
    assert written.labels == "letters"
    tokens = Tokens(read_checkpoint(written.path))
    assert len(set(tokens.labels)) == 40
    choice = "Title: Alien\n1. an egg\n2. a cat\nAnswer: "
    assert tokens.text(tokens.choice(choice)) == "Title: Alien\nA. an egg\nB. a cat\nAnswer:"
    assert tokens.text([*tokens.choice(choice), tokens.labels[1]]).endswith("\nAnswer: B")
    # The answer is tokenized like the text that a model was pre-trained on.
    answered = tokens.ids("Answer: B")
    assert [*tokens.choice(choice), tokens.labels[1]][-len(answered) :] == answered


def test_a_manifest_from_before_there_were_letters_means_numbers(folder: Path) -> None:
    written = write_manifest(folder, "tiny")
    edit(folder / "marquee.json", labels=MISSING)
    assert read_checkpoint(folder) == written


@pytest.mark.parametrize("where", ["file", "settings"])
def test_a_chat_template_is_refused(folder: Path, where: str) -> None:
    """Without the template its answers differ, and nothing would say so."""
    if where == "file":
        (folder / "chat_template.jinja").write_text("{{ messages }}")
        refused(folder, "chat_template.jinja: the model was trained on chats in this template, expected none, as")
    else:
        edit(folder / "tokenizer_config.json", chat_template="{{ messages }}")
        refused(folder, "tokenizer_config.json: the model was trained on chats in this template, expected none, as")


# Changes of the config.json of a model that is no Llama, and the messages.
OTHER_FAULTS: list[tuple[dict[str, Any], str]] = [
    (
        {"model_type": "qwen3"},
        "architectures is ['Qwen2ForCausalLM'], expected ['Qwen3ForCausalLM'], as model_type",
    ),
    ({"model_type": "qwen17"}, "config.json: transformers makes no model from it (The checkpoint you are trying to"),
    ({"max_position_embeddings": MISSING}, "max_position_embeddings is missing, expected a whole number above 0"),
    ({"vocab_size": 300}, "tokens, the model only 300 (vocab_size in config.json)"),
    (
        {"use_sliding_window": True, "sliding_window": 256},
        "sliding_window is 256, expected none, or at least max_positi",
    ),
    (
        {"attention_chunk_size": 256},
        "attention_chunk_size is 256, expected none, or at least max_position_embeddings, 1",
    ),
    ({"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0, expected no such key: scoring and training"),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "rope_type is 'yarn', expected"),
    ({"num_hidden_layers": 3, "layer_types": None}, "the weights have 2 layers (model.layers.0, …), expected 3"),
    ({"tie_word_embeddings": False}, "lm_head.weight is missing from the weights, expected one"),
    ({"intermediate_size": 127}, "model.layers.0.mlp.gate_proj.weight is of shape 128 × 64, expected 127 × 64"),
]


@pytest.mark.parametrize(("change", "message"), OTHER_FAULTS)
def test_another_architecture_that_contradicts_itself_gets_no_manifest(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = make_other_model(tmp_path / "qwen")
    edit(folder / "config.json", **change)
    refused(folder, message)


def test_another_architecture_gets_a_manifest(tmp_path: Path) -> None:
    written = write_manifest(make_other_model(tmp_path / "qwen", use_sliding_window=False, sliding_window=256), "qwen")
    assert (written.labels, written.max_model_len, written.vocab_size) == ("letters", 1024, 512)


def test_two_tokens_of_one_id_are_refused(folder: Path) -> None:
    """Otherwise two options would share a probability."""
    edit(folder / "tokenizer.json", **{"model.vocab.13": tokenizer().token_to_id("12")})
    refused(folder, "expected one token of each id")


def test_an_added_token_that_swallows_spaces_is_refused(tmp_path: Path) -> None:
    tokens = tokenizer()
    tokens.add_tokens([AddedToken("<tag>", lstrip=True)])
    refused(make_checkpoint(tmp_path / "llama", tokens), "'a <tag> a' comes back from its tokens as 'a<tag> a'")


@pytest.mark.parametrize("bos", ["<|end_of_text|>", {"content": "<|end_of_text|>"}])
def test_a_beginning_of_text_that_tokenizer_config_names_otherwise_is_refused(folder: Path, bos: Any) -> None:
    edit(folder / "tokenizer_config.json", bos_token=bos)
    refused(folder, "bos_token is '<|end_of_text|>', which is token 1, expected token 0, '<|begin_of_text|>'")


def _cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


def _nan(value: float) -> Callable[[Path], None]:
    def change(weights: Weights) -> None:
        weights["model.layers.1.mlp.up_proj.weight"][3, 4] = value

    return lambda folder: edit_weights(folder, change)


def _rename(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "llama.safetensors")


def _shard_beside(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    shard(folder)
    (folder / "model.safetensors").write_bytes(whole)


def _lose_a_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def _lose_the_index(folder: Path) -> None:
    shard(folder)
    (folder / INDEX).unlink()


def _unlist(folder: Path) -> None:
    shard(folder)
    listed = json.loads((folder / INDEX).read_text())["weight_map"]
    del listed["model.norm.weight"]
    edit(folder / INDEX, weight_map=listed)


def _twice(folder: Path) -> None:
    shard(folder)
    for file in folder.glob("model-*.safetensors"):
        save_file({**load_file(file), "model.norm.weight": torch.ones(64)}, file)


def _adapter_names(weights: Weights) -> None:
    projection = "model.layers.0.self_attn.q_proj"
    weights[f"{projection}.base_layer.weight"] = weights.pop(f"{projection}.weight")
    weights[f"{projection}.lora_A.default.weight"] = torch.ones(4, 64)


WEIGHTS_FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors: not whole"),
    "cut": (_cut, "model.safetensors: not whole"),
    "nan": (_nan(float("nan")), "1 of the 8192 values of model.layers.1.mlp.up_proj.weight are NaN or infinite"),
    "infinite": (_nan(float("-inf")), "1 of the 8192 values of model.layers.1.mlp.up_proj.weight are NaN or infinite"),
    "missing": (
        lambda folder: edit_weights(folder, lambda weights: weights.pop("model.norm.weight")),
        "model.norm.weight not in the weights, expected all those of the model in config.json",
    ),
    "surplus": (
        lambda folder: edit_weights(folder, lambda weights: weights.update({"score.weight": torch.ones(2)})),
        "score.weight in the weights, expected only those of the model in config.json",
    ),
    "head": (
        lambda folder: edit_weights(folder, lambda weights: weights.update({"lm_head.weight": torch.ones(512, 64)})),
        "lm_head.weight is in the weights, expected none, as tie_word_embeddings in config.json is true",
    ),
    "shape": (
        lambda folder: edit_weights(folder, lambda weights: weights.update({"model.norm.weight": torch.ones(32)})),
        "model.norm.weight is of shape 32, expected 64 by the sizes in config.json",
    ),
    "whole numbers": (
        lambda folder: edit_weights(
            folder, lambda weights: weights.update({"model.norm.weight": torch.ones(64, dtype=torch.int8)})
        ),
        "model.norm.weight is of type I8, expected one of BF16, F16, F32",
    ),
    "adapter not merged": (
        lambda folder: edit_weights(folder, _adapter_names),
        "lora_A.default.weight in the weights, expected only those of the model in config.json; merge the adapter",
    ),
    "adapter beside": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        "adapter_config.json found, which transformers would train with and vLLM score without, expected no adapter; m",
    ),
    "another name": (
        _rename,
        "model.safetensors not found, expected it, as there is no model.safetensors.index.json; rename",
    ),
    "two sets": (_shard_beside, "model.safetensors found beside the weights, expected only model-00001-of-00002"),
    "consolidated": (
        lambda folder: (folder / "consolidated.safetensors").write_bytes(b""),
        "consolidated.safetensors found beside the weights, expected only model.safetensors, as there is no model.safe",
    ),
    "no index": (
        _lose_the_index,
        "model.safetensors not found, expected it, as there is no model.safetensors.index.json; rename",
    ),
    "a shard is missing": (
        _lose_a_shard,
        "model-00002-of-00002.safetensors not found, expected all files that model.safetensors.index.json lists",
    ),
    "twice": (
        _twice,
        "model.norm.weight is in model-00001-of-00002.safetensors and in model-00002-of-00002.safetensors, ex",
    ),
    "not in the index": (
        _unlist,
        f"{INDEX}: model.norm.weight is listed in no file and is in model-0000",
    ),
    "only in the index": (
        lambda folder: shard(folder, **{"lm_head.weight": "model-00001-of-00002.safetensors"}),
        f"{INDEX}: lm_head.weight is listed in model-00001-of-00002.safetensors and is in no file",
    ),
    "index without a map": (
        lambda folder: (folder / INDEX).write_text("{}"),
        "weight_map is no object of file names",
    ),
}


@pytest.mark.parametrize(("damage", "message"), WEIGHTS_FAULTS.values(), ids=WEIGHTS_FAULTS.keys())
def test_weights_that_are_not_those_of_the_config_get_no_manifest(
    folder: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(folder)
    refused(folder, message)


PRIOR_FAULTS = [
    ("nothing", "not JSON"),
    ("[]", "not a JSON object"),
    ("{}", "prior is None, expected an object with a list for each K"),
    ('{"prior": {"2": [0.1]}}', "the prior of 2 options is [0.1], expected 2 finite numbers"),
    ('{"prior": {"2": [0.1, NaN]}}', "the prior of 2 options is [0.1, nan], expected 2 finite numbers"),
    ('{"prior": {"2": [0.1, "x"]}}', "the prior of 2 options is [0.1, 'x'], expected 2 finite numbers"),
    ('{"prior": {"2": 0.1}}', "the prior of 2 options is 0.1, expected 2 finite numbers"),
    ('{"prior": {"41": []}}', "prior has an entry for '41' options, expected 1 to 40"),
    ('{"prior": {"two": []}}', "prior has an entry for 'two' options, expected 1 to 40"),
]


@pytest.mark.parametrize(("content", "message"), PRIOR_FAULTS)
def test_a_malformed_label_prior_gets_no_manifest(folder: Path, content: str, message: str) -> None:
    (folder / "label_prior.json").write_text(content)
    refused(folder, f"label_prior.json: {message}")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", '{"model_type": "llama"}', "architectures is missing"),
        ("label_prior.json", "{}", "prior is None"),
    ],
)
def test_an_old_manifest_does_not_exempt_files_from_new_checks(
    folder: Path, file: str, content: str, message: str
) -> None:
    write_manifest(folder, "tiny")
    (folder / file).write_text(content)
    found = {"bytes": len(content), "sha256": hashlib.sha256(content.encode()).hexdigest()}
    edit_files(folder, {file: found})
    with pytest.raises(ContractError, match=f"{file}: {message}"):
        read_checkpoint(folder)


def edit_files(folder: Path, files: dict[str, Any]) -> None:
    manifest = json.loads((folder / "marquee.json").read_text())
    edit(folder / "marquee.json", files={**manifest["files"], **files})


def test_an_adapter_that_came_after_the_manifest_is_refused(folder: Path) -> None:
    """Training would load it, but scoring would not."""
    write_manifest(folder, "tiny")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ContractError, match=r"adapter_config\.json found"):
        read_checkpoint(folder)


@pytest.mark.parametrize(("key", "expected"), [("name", "a string"), ("version", "a string"), ("files", "an object")])
def test_a_manifest_that_lacks_what_scores_need_is_refused(folder: Path, key: str, expected: str) -> None:
    write_manifest(folder, "tiny")
    edit(folder / "marquee.json", **{key: MISSING})
    with pytest.raises(ContractError, match=rf"{key} is None, expected {expected}; write it with"):
        read_checkpoint(folder)


def test_a_refusal_leaves_the_manifest_that_was_there(folder: Path) -> None:
    write_manifest(folder, "tiny")
    before = (folder / "marquee.json").read_text()
    edit(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(ContractError, match="num_hidden_layers"):
        write_manifest(folder, "tiny")
    assert (folder / "marquee.json").read_text() == before


def llama_3_tokenizer() -> Tokenizer:
    """128,000 tokens of text (most of them unused) and 256 special ones, the first of which a template adds."""
    content = json.loads(tokenizer().to_str())
    words = [word for word in content["model"]["vocab"] if not word.startswith("<|")]
    words += [f"filler {number}" for number in range(128_000 - len(words))]
    content["model"]["vocab"] = {word: number for number, word in enumerate(words)}
    tokens = Tokenizer.from_str(json.dumps({**content, "added_tokens": []}))
    special = ["<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{n}|>" for n in range(254))]
    tokens.add_special_tokens(special)
    tokens.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 128000)]
    )
    return tokens


@pytest.mark.parametrize(
    ("tied", "rope"),
    [
        pytest.param(
            True, {"rope_theta": 500000.0, "rope_scaling": LLAMA_3_ROPE}, id="3.2 1B, as transformers 4 saved"
        ),
        pytest.param(False, {"rope_parameters": {"rope_theta": 500000.0, **LLAMA_3_ROPE}}, id="3.1 8B, as 5 saves it"),
    ],
)
def test_a_llama_3_passes(tmp_path: Path, tied: bool, rope: dict[str, Any]) -> None:
    """A small copy: its vocabulary with special tokens at the end, ends as a list, its rope, bfloat16, two shards."""
    of_llama_3 = {"bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "max_position_embeddings": 131072}
    shape = {"vocab_size": 128256, "hidden_size": 8, "head_dim": 4, "dtype": "bfloat16", "tie_word_embeddings": tied}
    folder = make_checkpoint(tmp_path / "llama", llama_3_tokenizer(), **of_llama_3, **shape)
    edit(folder / "config.json", rope_theta=MISSING)
    edit(folder / "config.json", **rope)
    edit(folder / "tokenizer_config.json", bos_token="<|begin_of_text|>", model_max_length=131072)

    def change(weights: Weights) -> None:
        weights.update({name: value.bfloat16() for name, value in weights.items()})
        if not tied:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()

    edit_weights(folder, change)
    shard(folder)
    written = write_manifest(folder, "llama-3")
    assert (written.bos_token_id, written.vocab_size, written.max_model_len) == (128000, 128256, 131072)
    assert len(set(Tokens(written).labels)) == 40


FP8 = {"quant_method": "compressed-tensors", "format": "float-quantized"}


@pytest.mark.parametrize(("scales", "message"), [(True, None), (False, "proj.weight_scale")])
def test_weights_in_fp8_have_their_scales(folder: Path, scales: bool, message: str | None) -> None:
    """As made by the commands in docs/scaling.md."""

    def quantize(weights: Weights) -> None:
        for name in [name for name in weights if "proj" in name]:
            weights[name] = weights[name].to(torch.float8_e4m3fn)
            if scales:
                weights[f"{name}_scale"] = torch.ones(len(weights[name]), 1)

    edit_weights(folder, quantize)
    edit(folder / "config.json", quantization_config=FP8)
    if message is None:
        assert write_manifest(folder, "fp8").name == "fp8"
    else:
        refused(folder, message)
