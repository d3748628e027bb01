"""The model that scores: promotions and rollbacks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inference.champion import champion, model_of_tonight
from inference.checkpoint import read_checkpoint, write_manifest
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.paths import without_password
from schemas.settings import Settings
from tests.conftest import RunMarquee
from tests.night_data import small_checkpoint
from training.registry import Registry


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    """Three checkpoints with different names and so different versions."""
    made = [small_checkpoint(tmp_path / name) for name in ("first", "second", "third")]
    for folder in made:
        write_manifest(folder, folder.name)
    return made


@pytest.fixture
def settings(tmp_path: Path, checkpoints: list[Path]) -> Settings:
    return Settings(model=str(checkpoints[0]), registry=f"sqlite:///{tmp_path}/registry.db")


def promote(settings: Settings, folder: Path) -> None:
    registry = Registry(settings.registry)
    registry.promote(registry.register(read_checkpoint(folder)))


def tonight(settings: Settings) -> str:
    return model_of_tonight(settings).model.path.name


def test_the_champion_scores_and_a_rollback_goes_back_to_the_one_before(
    settings: Settings, checkpoints: list[Path]
) -> None:
    assert tonight(settings) == "first"
    promote(settings, checkpoints[1])
    assert tonight(settings) == "second"
    promote(settings, checkpoints[2])
    # Promoting a version twice must not make it its own predecessor.
    promote(settings, checkpoints[2])
    assert tonight(settings) == "third"
    promote(settings, checkpoints[1])
    for before in ("third", "second", "first"):
        Registry(settings.registry).rollback()
        assert tonight(settings) == before
    with pytest.raises(ContractError, match="no champion to roll back from"):
        Registry(settings.registry).rollback()


def test_looking_for_a_champion_makes_no_registry(settings: Settings, tmp_path: Path) -> None:
    assert champion(str(settings.registry)) is None
    assert not (tmp_path / "registry.db").exists()
    assert model_of_tonight(settings).why == f"MARQUEE_MODEL, as there is no champion in {settings.registry}"
    without = settings.model_copy(update={"registry": None})
    assert model_of_tonight(without).why == "MARQUEE_MODEL, as MARQUEE_REGISTRY names no registry"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("sqlite:///{folder}/registry.db", "sqlite:///{folder}/registry.db?timeout=30"),
        ("sqlite:///{folder}/registry.db", "sqlite:///registry.db"),
        ("sqlite:///registry.db", "sqlite:///{folder}/registry.db"),
        ("sqlite+pysqlite:///{folder}/registry.db", "sqlite:///../here/registry.db"),
        ("sqlite:///{folder}/50%25 o'clock%3F.db", "sqlite:///50%25 o'clock%3F.db"),
    ],
)
def test_the_champion_scores_however_the_registrys_address_is_written(
    written: str, read: str, checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    promote(Settings(registry=written.format(folder=folder)), checkpoints[1])
    found = model_of_tonight(Settings(model=str(checkpoints[0]), registry=read.format(folder=folder)))
    assert found.model.path.name == "second"
    assert found.why.startswith("the champion, version 1 in sqlite")


def test_a_relative_registry_is_one_registry_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings(registry="sqlite:///registry.db?timeout=30").registry
    assert found == f"sqlite:///{tmp_path}/registry.db?timeout=30"


def test_an_address_that_mlflow_does_not_know_is_refused_and_no_password_is_shown() -> None:
    with pytest.raises(ContractError, match=r"MARQUEE_REGISTRY is 'ftp://host/registry'.*unsupported URI"):
        Registry("ftp://host/registry")
    for address, shown in (
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:a@b@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
    ):
        assert without_password(address) == shown


def test_reading_makes_no_registry(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/warehouse/registry/registry.db")
    assert registry.describe() == "no version is registered"
    with pytest.raises(ContractError, match="there is no champion to roll back from"):
        registry.rollback()
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(ContractError, match=f"this user may not make in {tmp_path}/file"):
        Registry(f"sqlite:///{tmp_path}/file/registry/registry.db")


def test_a_registry_that_another_process_has_made_is_read(settings: Settings, checkpoints: list[Path]) -> None:
    opened = Registry(settings.registry)
    promote(settings, checkpoints[1])
    assert "second" in opened.describe()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_text("no database, and long enough to be seen to be none " * 10)
    with pytest.raises(ContractError, match=r"which MLflow cannot open: .*not a database"):
        champion(f"sqlite:///{tmp_path}/registry.db")
    with pytest.raises(ContractError, match="is a folder; give a file in it"):
        champion(f"sqlite:///{tmp_path}")


def test_a_checkpoint_is_registered_once(settings: Settings, checkpoints: list[Path]) -> None:
    registry = Registry(settings.registry)
    checkpoint = read_checkpoint(checkpoints[1])
    assert registry.register(checkpoint).version == registry.register(checkpoint).version
    assert len(registry.versions()) == 1


def test_a_version_that_is_registered_again_has_the_last_verdict(settings: Settings, checkpoints: list[Path]) -> None:
    registry = Registry(settings.registry)
    registry.register(read_checkpoint(checkpoints[1]), tags={"verdict": "refused: too few users"})
    again = registry.register(read_checkpoint(checkpoints[1]), tags={"verdict": "promoted: +0.0300"})
    assert again.tags["verdict"] == "promoted: +0.0300"
    # Named by hand, it keeps it.
    assert registry.register(read_checkpoint(checkpoints[1])).tags["verdict"] == "promoted: +0.0300"


def test_a_champion_that_is_not_what_was_registered_is_an_error(settings: Settings, checkpoints: list[Path]) -> None:
    promote(settings, checkpoints[1])
    write_manifest(checkpoints[1], "other")
    with pytest.raises(ContractError, match=r"registered as second@.* is other@.*rollback"):
        model_of_tonight(settings)


def test_a_champion_that_was_moved_scores_again_when_it_is_promoted_from_there(
    settings: Settings, checkpoints: list[Path], tmp_path: Path
) -> None:
    promote(settings, checkpoints[1])
    moved = checkpoints[1].rename(tmp_path / "moved")
    with pytest.raises(ContractError, match=r"the champion, version 1 .*second: there is no checkpoint.*promote"):
        model_of_tonight(settings)
    promote(settings, moved)
    assert tonight(settings) == "moved"
    # It is not its own predecessor, which would have a missing folder.
    Registry(settings.registry).rollback()
    assert tonight(settings) == "first"


def test_a_model_does_not_score_prompts_without_the_signals_that_it_was_trained_with(
    settings: Settings, checkpoints: list[Path]
) -> None:
    write_manifest(checkpoints[1], "second", signals=["play_rate"])
    promote(settings, checkpoints[1])
    with pytest.raises(ContractError, match=r"second@.* was trained with the signals play_rate.*MARQUEE_SIGNALS="):
        model_of_tonight(settings)
    assert tonight(settings.model_copy(update={"signals": ("play_rate",)})) == "second"


def test_the_command_lists_promotes_and_names_what_is_missing(
    settings: Settings,
    checkpoints: list[Path],
    marquee: RunMarquee,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MARQUEE_REGISTRY", str(settings.registry))
    assert marquee("models", "promote", str(checkpoints[1])) == 0
    assert "second@" in capsys.readouterr().out
    shutil.rmtree(checkpoints[2])
    assert marquee("models", "promote", str(checkpoints[2])) == REFUSED
    assert "there is no checkpoint folder here" in capsys.readouterr().err
    monkeypatch.delenv("MARQUEE_REGISTRY")
    for command in ("list", "check"):
        assert marquee("models", command, "--warehouse", "s3://bucket/tables") == REFUSED
        assert "MARQUEE_REGISTRY is not set" in capsys.readouterr().err
