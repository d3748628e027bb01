"""Variables of `make` reach the commands unchanged: spaces, quotes, relative folders and URIs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHOW = 'show: ; @$(ENV) python -m tests.show_settings "$$LOOKUP_USER" "$$TITLE"'


def shown(*variables: str) -> list[str]:
    """The warehouse, the registry, the user and the title that a target's command gets."""
    clean = {name: value for name, value in os.environ.items() if name not in ("TITLE", "MAKEFLAGS", "MAKELEVEL")}
    command = ["make", "--silent", f"--eval={SHOW}", "show", *variables]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("/data/our tables/", "/data/our tables"),
        ("our tables/../it's", f"{ROOT}/it's"),
        ("s3://bucket/tables", "s3://bucket/tables"),
        ("/data/a$b $(shell id)", "/data/a$b $(shell id)"),
        ("file:///data/our%20tables", "/data/our tables"),
        ("~/tables", f"{Path.home()}/tables"),
    ],
)
def test_a_warehouse_is_a_folder_from_here_or_a_uri(named: str, found: str) -> None:
    registry = "None" if named.startswith("s3") else f"sqlite:///{found}/registry/registry.db"
    assert shown(f"WAREHOUSE={named}")[:2] == [found, registry]


def test_a_lookups_user_and_title_are_taken_as_they_are() -> None:
    assert shown("USER=4 '2", 'TITLE=a "b"')[2:] == ["4 '2", 'a "b"']
    assert shown("USER=u$x", "TITLE=$(shell id)$$")[2:] == ["u$x", "$(shell id)$$"]
    # Every shell sets USER.
    assert shown()[2:] == ["", ""]


def test_a_percent_or_a_question_mark_in_a_warehouse_is_one_in_its_registry() -> None:
    assert shown("WAREHOUSE=/data/50% or?")[1] == "sqlite:////data/50%25 or%3F/registry/registry.db"
