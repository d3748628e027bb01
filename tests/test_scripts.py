"""What a person names to `make` reaches the commands whole: spaces, quotes, folders from here and URIs. A folder whose
tables are another sample's is refused.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMED = '"$$MARQUEE_WAREHOUSE" "$${MARQUEE_REGISTRY:-none}" "$$LOOKUP_USER" "$$TITLE"'
SHOW = rf"show: ; @$(ENV) printf '%s\n' {NAMED}"


def shown(*variables: str) -> list[str]:
    """The warehouse, the registry, the user and the title that a target's command finds."""
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
    registry = "none" if named.startswith("s3") else f"sqlite:///{found}/registry/registry.db"
    assert shown(f"WAREHOUSE={named}")[:2] == [found, registry]


@pytest.mark.parametrize("named", ["s3:/bucket/w", "~nobody-here/w", "file:w", "file://host/w"])
def test_what_python_refuses_is_left_for_it_to_refuse(named: str) -> None:
    assert shown(f"WAREHOUSE={named}")[0] == named


def test_a_lookups_user_and_title_are_taken_as_they_are() -> None:
    assert shown("USER=4 '2", 'TITLE=a "b"')[2:] == ["4 '2", 'a "b"']
    assert shown("USER=u$x", "TITLE=$(shell id)$$")[2:] == ["u$x", "$(shell id)$$"]
    # Every shell has a USER.
    assert shown()[2:] == ["", ""]


def test_a_percent_or_a_question_mark_in_a_warehouse_is_one_in_its_registry() -> None:
    assert shown("WAREHOUSE=/data/50% or?")[1] == "sqlite:////data/50%25 or%3F/registry/registry.db"


@pytest.mark.parametrize("ds", ["2026/01/14", "2026-1-14", "tomorrow", "2026-01-14 "])
def test_a_day_that_is_no_date_starts_no_dag(ds: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts/run_dag.sh", "artwork_nightly", ds], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"marquee: DS is '{ds}', expected a date as YYYY-MM-DD.\n")


@pytest.mark.parametrize("made_for", [None, "movielens"])
def test_the_papers_table_is_not_made_of_another_sample(tmp_path: Path, made_for: str | None) -> None:
    (tmp_path / "viewing_history").mkdir()
    if made_for is not None:
        (tmp_path / ".paper-table").write_text(f"{made_for}\n")
    environment = {**os.environ, "MARQUEE_WAREHOUSE": str(tmp_path), "SERVICE": "simulated"}
    done = subprocess.run(
        [ROOT / "scripts/paper_table.sh"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{tmp_path} holds tables that make paper-table SERVICE=simulated did not make" in done.stderr
