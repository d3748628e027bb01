"""A path means the same place for every process and every reader."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from examples import service
from marquee import options
from schemas.exit_codes import REFUSED
from schemas.paths import absolute_place, sqlite_file, warehouse_place
from schemas.settings import Settings
from schemas.store import last_day, open_table
from schemas.tables import VIEWING_HISTORY
from tests.conftest import RunMarquee

SAMPLE = ["sample", "simulated", "--users", "3", "--titles", "4", "--days", "3"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("w", "{here}/w"),
        ("./w/", "{here}/w"),
        ("../w", "{above}/w"),
        ("~/w", "{home}/w"),
        ("{here}//w/", "{here}/w"),
        ("file://{here}/w", "{here}/w"),
        ("file://{here}/a%20b", "{here}/a b"),
        ("s3://bucket/w/", "s3://bucket/w"),
    ],
)
def test_a_place_is_the_same_from_every_folder(
    written: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    names = {"here": here, "above": tmp_path, "home": home}
    expected = meant.format(**names)
    assert warehouse_place(written.format(**names)) == expected
    assert Settings(warehouse=written.format(**names)).warehouse == expected


@pytest.mark.parametrize(
    "written", ["", "s3:/bucket/w", "dbfs:/w", "~nobody-here/w", "file://host/w", "file:w", "file:///a#b", "s3://"]
)
def test_text_that_is_neither_a_path_nor_a_uri_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"path|URI"):
        warehouse_place(written)


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "a#b", "a?b", "50%", "a{b,c}", "é", "a:b", "$HOME", "a,b"])
def test_a_sample_is_written_to_the_given_place_and_found_there(
    name: str, tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = tmp_path / name
    assert marquee(*SAMPLE, "--warehouse", str(warehouse)) == 0
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert str(last_day(str(warehouse))) == "2026-01-14"
    assert open_table(str(warehouse), VIEWING_HISTORY).version() == 0
    assert f"written to {warehouse};" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a%20b", "a%2Fb", "a\\b", "a[b]", "a`b", "a\nb", "a^b", "a|b"])
def test_a_folder_that_delta_would_look_for_elsewhere_is_refused(
    name: str, tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee(*SAMPLE, "--warehouse", str(tmp_path / name)) == REFUSED
    assert "Delta's readers take" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_symbolic_link_stays_one_and_is_followed_when_a_folder_is_checked(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "today")
    assert warehouse_place(str(link)) == str(link)
    link.unlink()
    link.symlink_to(tmp_path / "a%20b")
    with pytest.raises(ValueError, match=r"take '%20' in a path .*, and it links to '.*/a%20b'"):
        warehouse_place(str(link))
    # Models are not read by Delta.
    assert absolute_place(str(link)) == str(link)


@pytest.mark.parametrize("kind", ["file", "link", "full"])
def test_a_sample_that_cannot_be_written_leaves_nothing_behind(
    kind: str, tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = tmp_path / "w"
    if kind == "file":
        warehouse.write_text("")
    elif kind == "link":
        warehouse.symlink_to(tmp_path / "nowhere")
    else:
        (warehouse / "something").mkdir(parents=True)
    assert marquee(*SAMPLE, "--warehouse", str(warehouse)) == REFUSED
    assert capsys.readouterr().err.startswith(f"marquee sample simulated: {warehouse} is ")
    assert [each.name for each in tmp_path.iterdir()] == ["w"]


def test_a_name_that_is_too_long_is_refused(
    tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee(*SAMPLE, "--warehouse", str(tmp_path / ("w" * 300))) == REFUSED
    assert "cannot be read" in capsys.readouterr().err
    assert marquee(*SAMPLE, "--warehouse", str(tmp_path / ("w" * 250))) == 0


def test_a_sample_below_a_file_is_refused(
    tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert marquee(*SAMPLE, "--warehouse", str(tmp_path / "file" / "w")) == REFUSED
    assert "cannot be written" in capsys.readouterr().err


def test_folders_that_were_made_for_a_sample_go_with_it(
    tmp_path: Path, marquee: RunMarquee, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(service, "write_truth", full)
    assert marquee(*SAMPLE, "--warehouse", str(tmp_path / "a" / "b" / "w")) == REFUSED
    assert not list(tmp_path.iterdir())


def test_the_file_of_a_registry_is_the_one_that_sqlite_opens() -> None:
    found = Settings(registry="sqlite:////data/50%25 of%3F it.db?timeout=30").registry
    assert found == "sqlite:////data/50%25 of%3F it.db?timeout=30"
    assert sqlite_file(str(found)) == "/data/50% of? it.db"
    assert sqlite_file("postgresql://host/db") is None


def test_a_path_may_begin_with_the_home_folder_that_no_shell_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for written, meant in [("~/x", "/home/somebody/x"), ("x/~y", "x/~y"), ("/a b", "/a b"), (".", ".")]:
        assert options.folder(written) == Path(meant)


@pytest.mark.parametrize("written", ["", " ", "~nobody-here/x"])
def test_text_that_is_no_path_is_refused(written: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"path|no such user"):
        options.folder(written)
