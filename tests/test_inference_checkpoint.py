"""The manifest of a checkpoint: which model scored, and whether it may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.models import version_of
from inference import checkpoint
from inference.checkpoint import read_checkpoint, write_manifest
from inference.orders import averaged
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from tests.inference_data import make_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "llama")


def test_what_was_written_is_read(folder: Path) -> None:
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


def test_a_folder_stands_for_its_version_also_where_the_scores_are_means_over_orders(folder: Path) -> None:
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


def test_the_command_that_is_told_keeps_the_signals(folder: Path) -> None:
    """Without them a night would score prompts that lack what the model was trained with, and say nothing."""
    write_manifest(folder, "tiny", ["play_rate", "taste_group"])
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(ContractError) as told:
        read_checkpoint(folder)
    _, _, command = str(told.value).partition("python -m inference.checkpoint ")
    assert checkpoint.main(command.rstrip("`").split()) == 0
    assert read_checkpoint(folder).signals == ("play_rate", "taste_group")


def test_a_signal_that_no_setting_knows_is_refused(folder: Path) -> None:
    with pytest.raises(SystemExit):
        checkpoint.main([str(folder), "--name", "tiny", "--signals", "play_rates"])
    assert not (folder / "marquee.json").exists()


def test_what_is_missing_is_named_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="set MARQUEE_MODEL"):
        read_checkpoint(tmp_path / "nowhere")
    with pytest.raises(ContractError, match=r"python -m inference\.checkpoint .*llama --name"):
        read_checkpoint(folder)
    write_manifest(folder, "tiny")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ContractError, match=r"tokenizer\.json: the file is missing"):
        read_checkpoint(folder)


def test_a_model_of_another_prompt_format_does_not_score(folder: Path) -> None:
    write_manifest(folder, "tiny")
    manifest = json.loads((folder / "marquee.json").read_text())
    (folder / "marquee.json").write_text(json.dumps({**manifest, "prompt_format": "marquee-0"}))
    with pytest.raises(ContractError, match="trained on prompt format 'marquee-0'"):
        read_checkpoint(folder)


def test_the_command_says_the_version_or_what_is_wrong(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkpoint.main([str(folder), "--name", "tiny"]) == 0
    assert capsys.readouterr().out.strip() == read_checkpoint(folder).version
    assert checkpoint.main([str(tmp_path / "nowhere"), "--name", "tiny"]) == REFUSED
    assert "no checkpoint folder" in capsys.readouterr().err
