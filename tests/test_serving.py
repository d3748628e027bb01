"""Output about a night for people: the summary, a lookup, and the comparison of two warehouses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from schemas.buckets import bucket_of
from schemas.contract import Table
from schemas.exit_codes import REFUSED
from schemas.store import create
from schemas.tables import (
    ARTWORK_SELECTIONS,
    AUDIT_RESULTS,
    BUCKETS_PROPERTY,
    CATALOGUE_NAMES,
    NIGHT_MODELS,
    NIGHT_STEPS,
    REJECTED_ROWS,
    SCORING_RUNS,
    TITLE_DEFAULTS,
)
from serving.fingerprint import fingerprints, table_hash
from tests.conftest import RunMarquee

DS = date(2026, 1, 14)
BUCKETS = 4


def write(warehouse: Path, table: Table, rows: list[dict[str, Any]], **properties: str) -> None:
    folder = str(warehouse / table.name)
    create(str(warehouse), table, **properties)
    write_deltalake(folder, pa.Table.from_pylist(rows, schema=table.arrow_schema()), mode="append")


def step(name: str, seconds: float, **counts: int) -> dict[str, Any]:
    return {"ds": DS, "step": name, "seconds": seconds, "counts": list(counts.items())}


def scored(bucket: int) -> dict[str, Any]:
    return {
        "ds": DS,
        "bucket": bucket,
        "pairs": 100,
        "rejected": 0,
        "shortened": 3,
        "asked_again": 0,
        "prompt_tokens": 1000,
        "cached_tokens": 700,
        "label_mass": 0.99,
        "seconds": 2.5,
        "model_version": "tiny-1",
        "input_fingerprint": "f",
    }


def selection(user_id: str, title_id: str, artwork_id: str) -> dict[str, Any]:
    return {
        "bucket": bucket_of(user_id, BUCKETS),
        "user_id": user_id,
        "title_id": title_id,
        "artwork_id": artwork_id,
        "probability": 0.75,
        "propensity": 0.625,
        "ranking": [{"artwork_id": artwork_id, "probability": 0.75, "propensity": 0.625}],
        "source": "model",
        "model_version": "tiny-1",
        "prompt_hash": 1,
        "ds": DS,
        "updated_at": datetime(2026, 1, 15, tzinfo=UTC),
    }


def artwork(artwork_id: str, caption: str) -> dict[str, Any]:
    return {"artwork_id": artwork_id, "caption": caption}


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    write(
        tmp_path,
        NIGHT_STEPS,
        [
            step("validate", 4, rows_titles=200, rejected_titles=2),
            step("contexts", 3, pairs_wanted=260, pairs_to_score=200, pairs_carried=50, pairs_only_choice=10),
            step("score_0", 5, pairs=100, peak_rss_mb=900),
            step("score_1", 6, pairs=100, peak_rss_mb=1100),
            step("publish", 2, inserted=150, updated=60, deleted=1, unchanged=50),
        ],
    )
    write(tmp_path, SCORING_RUNS, [scored(0), scored(1)])
    write(tmp_path, AUDIT_RESULTS, [{"ds": DS, "check": "coverage", "value": 0.0, "limit": 0.1, "passed": True}])
    reject = {"ds": DS, "step": "validate", "bucket": -1, "source_table": "titles", "row": "{}", "rule": "name_blank"}
    write(tmp_path, REJECTED_ROWS, [reject, reject])
    write(
        tmp_path,
        ARTWORK_SELECTIONS,
        [selection("42", "7", "a1"), selection("1", "7", "a2")],
        **{BUCKETS_PROPERTY: str(BUCKETS)},
    )
    write(tmp_path, TITLE_DEFAULTS, [{"title_id": "7", "artwork_id": "a2"}])
    captions = [artwork("a1", "Two friends on a shelf"), artwork("a2", "A boy waves")]
    names = {"title_id": "7", "name": "Toy Story", "release_year": 1995, "captions": captions}
    write(tmp_path, CATALOGUE_NAMES, [names])
    chosen = {"ds": DS, "model_version": "tiny-1", "checkpoint": "/models/tiny", "why": "no champion in sqlite:///r.db"}
    write(tmp_path, NIGHT_MODELS, [chosen])
    return tmp_path


def test_the_summary_prints_the_nights_counts(
    warehouse: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee("summary", "--ds", "2026-01-14", "--warehouse", str(warehouse)) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for expected in (
        "titles 200 2",
        "scored by tiny-1: no champion in sqlite:///r.db",
        "titles name_blank 2",
        "wanted 260",
        "carried over, unchanged 50",
        "scored now 200",
        "published: new 150",
        "published: changed 60",
        "pairs per second 40.0",
        "of these from the cache 70.0%",
        "peak memory of a task 1,100 MB",
        "coverage 0 0.1 passed",
        "score (2 shards) 11.0",
        "all steps, without their starts 20.0",
    ):
        assert expected in lines


def test_a_night_that_was_never_run_has_no_summary(
    warehouse: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee("summary", "--ds", "2026-01-13", "--warehouse", str(warehouse)) == REFUSED
    assert "no step of ds=2026-01-13 has been run" in capsys.readouterr().err


@pytest.fixture
def looked_up(warehouse: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def look_up(*arguments: str) -> str:
        assert marquee("lookup", "--warehouse", str(warehouse), *arguments) == 0
        return " ".join(capsys.readouterr().out.split())

    return look_up


def test_a_lookup_prints_the_choice_in_words(looked_up: Callable[..., str]) -> None:
    printed = looked_up("--user", "42")
    assert f"User 42 (bucket {bucket_of('42', BUCKETS)}) should see" in printed
    assert "7 Toy Story (1995) a1 Two friends on a shelf 0.750 0.625 model 2026-01-14" in printed


def test_a_lookup_prints_the_default_for_a_user_without_a_choice(looked_up: Callable[..., str]) -> None:
    printed = looked_up("--user", "nobody", "--title", "7")
    assert "no choice of their own" in printed
    assert "A boy waves" in printed


def test_a_lookup_names_unknown_users_and_titles(looked_up: Callable[..., str]) -> None:
    printed = looked_up("--user", "nobody")
    assert printed == "User nobody: no night has chosen anything for this user, who sees the titles' defaults"
    assert "title 8 has no choice and no default" in looked_up("--user", "nobody", "--title", "8")


def test_square_brackets_in_names_and_captions_are_no_markup(warehouse: Path, looked_up: Callable[..., str]) -> None:
    name = {"title_id": "8", "name": "[REC]", "captions": [artwork("a3", "[REC] on a screen[/b]")]}
    for table, row in ((CATALOGUE_NAMES, name), (ARTWORK_SELECTIONS, selection("[/u]", "8", "a3"))):
        added = pa.Table.from_pylist([row], schema=table.arrow_schema())
        write_deltalake(str(warehouse / table.name), added, mode="append")
    printed = looked_up("--user", "[/u]")
    assert "User [/u] (bucket" in printed
    assert "[REC] on a screen[/b]" in printed


def test_a_lookup_without_a_night_says_what_is_missing(
    tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee("lookup", "--warehouse", str(tmp_path)) == REFUSED
    assert f"artwork_selections: there is no Delta table at {tmp_path}" in capsys.readouterr().err


def test_a_hash_depends_on_repeated_rows_but_not_on_row_order() -> None:
    first, second = pa.record_batch({"a": [1, 2]}), pa.record_batch({"a": [2, 3]})
    assert table_hash(iter([first, second])) == table_hash(iter([second, first]))
    assert table_hash(iter([first])) != table_hash(iter([first, first]))
    assert table_hash(iter([first, first])) != table_hash(iter([second, second]))


def test_a_fingerprint_leaves_out_measured_times(warehouse: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write(again, SCORING_RUNS, [scored(1) | {"seconds": 9.9, "cached_tokens": 0}, scored(0)])
    assert fingerprints(str(again))["scoring_runs"] == fingerprints(str(warehouse))["scoring_runs"]
    assert "night_steps" not in fingerprints(str(warehouse))


def test_two_warehouses_are_compared(
    warehouse: Path, tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee("fingerprint", "--warehouse", str(warehouse), "--other", str(warehouse)) == 0
    other = tmp_path / "other"
    write(other, TITLE_DEFAULTS, [{"title_id": "7", "artwork_id": "a1"}])
    assert marquee("fingerprint", "--warehouse", str(warehouse), "--other", str(other)) == 1
    assert "no" in capsys.readouterr().out


def test_the_last_nights_stand_side_by_side_and_are_drawn(
    warehouse: Path, tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    later = {"ds": DS + timedelta(days=1)}
    write(
        warehouse,
        NIGHT_STEPS,
        [
            step("validate", 1, rows_titles=7) | {"ds": DS - timedelta(days=1)},
            step("validate", 4, rows_titles=200, rows_artworks=100, rejected_titles=3) | later,
            step("contexts", 3, pairs_wanted=260, pairs_carried=250) | later,
            step("audit failed", 1) | {"failed": "[b] fails its audit", **later},
        ],
    )
    failed = {"check": "coverage", "value": 1.0, "limit": 0.1, "passed": False, **later}
    write(warehouse, AUDIT_RESULTS, [failed])
    plot = tmp_path / "nights.png"
    assert marquee("nights", "--last", "2", "--plot", str(plot), "--warehouse", str(warehouse)) == 0
    printed = capsys.readouterr().out.splitlines()
    columns = "night rows in rejected wanted scored carried changed cached seconds scoring audit"
    assert printed[0].split() == columns.split()
    # 150 inserted, 60 updated and 1 deleted of 261; 1,400 of 2,000 tokens.
    assert printed[1].split() == [
        *(str(DS), "200", "2", "260", "200", "50", "80.8%", "70.0%", "20", "11"),
        *("passed", "published"),
    ]
    assert printed[2].split() == [
        *(str(later["ds"]), "300", "3", "260", "0", "250", "7", "0"),
        *("1", "failed", "audit", "failed"),
    ]
    assert marquee("summary", "--ds", str(later["ds"]), "--warehouse", str(warehouse)) == 0
    assert "audit failed: [b] fails its audit\n" in capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert marquee("nights", "--plot", str(tmp_path / "nights.xyz"), "--warehouse", str(warehouse)) == REFUSED
    assert "Format 'xyz' is not supported" in capsys.readouterr().err
