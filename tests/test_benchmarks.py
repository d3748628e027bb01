"""What decides what a benchmark measures and reports; the measuring itself is run once, at tiny size."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

import benchmarks
from benchmarks import harness, lookups, night_cost, scoring, sides
from benchmarks.harness import Row
from benchmarks.night_counts import ByteCounts, byte_counts, token_counts
from benchmarks.peers.job import Job
from benchmarks.peers.llm import token_counts as counted_outputs
from benchmarks.peers.text import parsed
from benchmarks.prompt_bucket import MEASURED, TITLES_PER_USER, WARM_UP, make_nights, prompts_file
from inference.checkpoint import Checkpoint
from inference.job import ScoringJob
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    WANTED_PAIRS,
)
from serving.selections import Selections
from tests.inference_data import DS, append, choice_row, context, context_row, make_night

NAMES = ["gpu", "lookups", "merges", "night_cost", "nights", "prompts", "scoring", "work_lost"]


def test_every_module_with_a_main_is_known() -> None:
    modules = Path(str(benchmarks.__file__)).parent.glob("*.py")
    assert sorted(path.stem for path in modules if "\ndef main(" in path.read_text()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_describes_itself_and_reads_no_setting_for_that(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module: ModuleType = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setenv("MARQUEE_BUCKETS", "not a number")
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    first = str(module.__doc__).splitlines()[0]
    assert first.endswith(".")
    assert first.split()[0] in capsys.readouterr().out


def test_every_second_round_is_in_reverse() -> None:
    order: list[str] = []
    found = harness.alternating({name: lambda name=name: order.append(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(order) == "abccbaabc"
    assert {name: len(runs) for name, runs in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_times_are_told_by_median_and_over_marquee() -> None:
    assert harness.timing([8, 2, 6], [3, 2, 90]) == {"seconds": 6, "lowest": 2, "highest": 8, "over Marquee": 2}
    assert harness.ratio(1, 0) is None
    assert harness.ratio(None, 2) is None


def test_a_table_is_markdown() -> None:
    rows: list[Row] = [{"side": "a", "pairs": 1234, "s": 1.23456}, {"side": "bcd", "pairs": 5, "s": None}]
    assert harness.markdown(rows).splitlines() == [
        "| side | pairs | s    |",
        "| ---- | ----- | ---- |",
        "| a    | 1,234 | 1.23 |",
        "| bcd  | 5     | –    |",
    ]


def test_a_result_names_command_commit_and_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = harness.parser("example", "Something.")
    rows: list[Row] = [{"side": "a", "seconds": 1.23456}]
    arguments = ["--results", str(tmp_path)]
    assert harness.run(parser, arguments, lambda *_: iter([("A title", rows)])) == 0
    (file,) = tmp_path.glob("example-*.json")
    result = json.loads(file.read_text())
    assert result["tables"] == {"A title": [{"side": "a", "seconds": 1.23456}]}
    assert result["command"] == f"marquee bench example --results {tmp_path}"
    assert (result["commit"], result["machine"]) == (harness.commit(), harness.machine())
    assert re.fullmatch(r"pyspark [\d.]+, torch .*, vllm .*", result["versions"])
    assert "| a    | 1.23    |" in capsys.readouterr().out


def test_a_table_is_kept_whatever_happens_to_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def measure(*_: object) -> Iterator[harness.Table]:
        yield "The first", [{"seconds": 1}]
        raise RuntimeError("the machine was taken away")

    assert harness.run(harness.parser("example", ""), ["--results", str(tmp_path)], measure) == 1
    assert capsys.readouterr().err.endswith("\nexample: RuntimeError: the machine was taken away\n")
    (file,) = tmp_path.glob("example-*.json")
    assert json.loads(file.read_text())["tables"] == {"The first": [{"seconds": 1}]}


def test_what_a_benchmark_refuses_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> Any:
        raise ContractError("no such night")

    assert harness.run(harness.parser("example", ""), ["--results", str(tmp_path)], refuse) == REFUSED
    assert capsys.readouterr().err == "example: no such night\n"
    assert not list(tmp_path.iterdir())


def scored(probabilities: list[float] | None, answer: int | None = None, title: str = "t1") -> dict[str, Any]:
    return {"user_id": "u", "title_id": title, "probabilities": probabilities, "answer": answer}


def test_sides_agree_within_the_tolerance() -> None:
    reference = [scored([0.6, 0.4]), scored([0.5, 0.5], title="t2")]
    near = [scored([0.5, 0.5], title="t2"), scored([0.6004, 0.3996])]
    assert sides.compare("side", reference, near) == pytest.approx(4e-4)
    assert sides.compare("side", reference, [scored(None, 2), scored(None, 1, "t2")]) is None
    with pytest.raises(ContractError, match=r"side: probabilities differ by up to 0\.0"):
        sides.compare("side", reference, [scored([0.62, 0.38]), reference[1]])
    for other in (reference[:1], [*reference, reference[0]]):
        with pytest.raises(ContractError, match=f"side: {len(other)} scores, expected one of each of the 2 pairs"):
            sides.compare("side", reference, other)


def test_ray_data_has_a_row_without_the_start_of_its_engine() -> None:
    ours = sides.Run(2.0, 0.5, 100, 30, [scored([0.6, 0.4])])
    ray = sides.Run(9.0, 5.0, 100, None, [scored([0.6, 0.4])])
    rows = list(scoring.speeds({"marquee": [ours], "ray_data": [ray]}, 10))
    assert [row["side"] for row in rows] == ["marquee", "ray_data", "ray_data without its start"]
    assert [row["over Marquee"] for row in rows] == [1, 4.5, 2]
    assert [row["computed / prompt"] for row in rows] == [0.3, None, None]


def test_a_side_is_killed_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The side is a process with a child: both write their ids, then say that the night began, and sleep."""
    code = (
        "import os, pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(tmp_path)!r}, 'ids').write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        f"pathlib.Path({str(tmp_path)!r}, 'began').touch()\n"
        "time.sleep(600)"
    )
    monkeypatch.setattr(sides, "_started", lambda *_: subprocess.Popen([sys.executable, "-c", code]))
    sides.kill_side("side", Job(""), tmp_path, after=0.0)
    for pid in map(int, (tmp_path / "ids").read_text().split()):
        for _ in range(100):
            if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"process {pid} still runs")


def test_an_answer_is_the_first_number_of_an_option() -> None:
    assert parsed(" 2\nTitle: 3", 3) == 2
    assert parsed("11111111", 3) == 1
    assert parsed("12", 40) == 12
    assert parsed("4", 3) is None


def test_generated_tokens_are_computed_but_for_the_last() -> None:
    output = SimpleNamespace(
        prompt_token_ids=list(range(10)), num_cached_tokens=4, outputs=[SimpleNamespace(token_ids=[1, 2, 3])]
    )
    outputs: list[Any] = [output, output]
    assert counted_outputs(outputs) == (20, 16)


def test_every_side_finds_the_same_pairs_and_texts(tmp_path: Path) -> None:
    make_nights(tmp_path, users=6)
    night, job = ScoringJob(str(tmp_path), MEASURED), Job(str(tmp_path))
    choices = {row["title_id"]: row for row in night.rows(TITLE_CHOICES, ["title_id", "artwork_ids", "choice"])}
    contexts = list(night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"], bucket=0))
    flat = pq.read_table(prompts_file(tmp_path, MEASURED)).to_pylist()
    assert {(row["user_id"], row["title_id"], row["options"], row["prompt"]) for row in flat} == {
        (row["user_id"], pair["title_id"], 3, row["context"] + choices[pair["title_id"]]["choice"])
        for row in contexts
        for pair in row["pairs"]
    }
    assert len(flat) == 6 * TITLES_PER_USER
    assert [row["user_id"] for row in contexts] == sorted(row["user_id"] for row in contexts)
    # A user's pairs do not stand together.
    assert Counter(one["user_id"] == next_["user_id"] for one, next_ in pairwise(flat))[True] < 60
    warm = {row["user_id"] for row in ScoringJob(str(tmp_path), WARM_UP).rows(USER_CONTEXTS, ["user_id"])}
    assert warm
    assert not warm & {row["user_id"] for row in contexts}
    counts = token_counts(night, Tokens(job.checkpoint), job.checkpoint.max_model_len - 1, 32)
    assert counts.pairs == 6 * TITLES_PER_USER
    assert counts.context == pytest.approx(300, rel=0.1)
    assert counts.choice == pytest.approx(80, rel=0.15)


HISTORIES = {"a": ["Film 1", "Film 2"], "b": ["Film 3"]}


@pytest.fixture
def counted_night(tmp_path: Path, random_checkpoint: Checkpoint) -> ScoringJob:
    """Two users who each want three titles, for two of which a model is asked."""
    users = [context_row(user, 0, context("drama", *history), ["t1", "t2"]) for user, history in HISTORIES.items()]
    make_night(tmp_path, random_checkpoint, users, [choice_row("t1", 2), choice_row("t2", 5)], buckets=1)
    pairs = [
        {"ds": DS, "bucket": 0, "user_id": user, "title_id": title} for user in HISTORIES for title in ("t1", "t2")
    ]
    model = {"model_version": "m", "prompt_hash": 1}
    append(
        tmp_path, ARTWORK_SCORES, [{**pair, **model, "artwork_ids": ["a"], "probabilities": [1.0]} for pair in pairs]
    )
    chosen = {"artwork_id": "a", "probability": 1.0, "propensity": 1.0, "ranking": [], "source": "model", **model}
    chosen |= {"updated_at": datetime(2026, 1, 6, tzinfo=UTC)}
    for table in (ARTWORK_SELECTIONS, ARTWORK_SELECTION_LOG):
        append(tmp_path, table, [{**pair, **chosen} for pair in pairs])
    wanted = [{"ds": DS, "bucket": 0, "user_id": user, "title_ids": ["t1", "t2", "t3"]} for user in HISTORIES]
    append(tmp_path, WANTED_PAIRS, wanted)
    return ScoringJob(str(tmp_path), DS)


def test_a_night_is_counted_as_it_is_asked(counted_night: ScoringJob, random_checkpoint: Checkpoint) -> None:
    tokens = Tokens(random_checkpoint)
    found = token_counts(counted_night, tokens, 1023, 32)
    lengths = [len(tokens.context(context("drama", *history)).ids) for history in HISTORIES.values()]
    choices = [len(tokens.ids(choice_row("t1", 2)["choice"])), len(tokens.ids(choice_row("t2", 5)["choice"]))]
    assert (found.users, found.pairs) == (2, 4)
    assert found.context == sum(lengths) / 2
    assert found.choice == pytest.approx(sum(choices) / 2)
    assert found.remainder == sum(length % 32 for length in lengths) / 2
    assert found.prompt_tokens == 2 * sum(lengths) + 2 * sum(choices)
    # One of a user's two pairs finds the context's whole blocks.
    assert found.shared_tokens == sum(length // 32 * 32 for length in lengths)
    plan = night_cost.Plan(2, 2, found.context, found.choice, found.remainder)
    assert 2 * plan.computed_tokens() == pytest.approx(found.prompt_tokens - found.shared_tokens)


def test_bytes_are_counted_by_user_and_by_pair(counted_night: ScoringJob) -> None:
    found = byte_counts(counted_night)
    assert found.asked_share == 4 / 6
    assert min(vars(found).values()) > 0


def test_a_night_without_questions_is_refused(
    tmp_path: Path,
    random_checkpoint: Checkpoint,
    marquee: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_night(tmp_path, random_checkpoint, [], [choice_row("t1", 2)])
    monkeypatch.setenv("MARQUEE_WAREHOUSE", str(tmp_path))
    monkeypatch.setenv("MARQUEE_MODEL", str(random_checkpoint.path))
    results = str(tmp_path / "results")
    assert marquee("bench", "night_cost", "--ds", str(DS), "--results", results) == REFUSED
    assert "user_contexts has no pair for ds=2026-01-05" in capsys.readouterr().err


def test_a_night_that_scored_is_costed_by_its_own_counts(
    counted_night: ScoringJob,
    random_checkpoint: Checkpoint,
    tmp_path: Path,
    marquee: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MARQUEE_WAREHOUSE", counted_night.warehouse)
    monkeypatch.setenv("MARQUEE_MODEL", str(random_checkpoint.path))
    results = tmp_path / "results"
    assert marquee("bench", "night_cost", "--ds", str(DS), "--users", "1e6", "--results", str(results)) == 0
    (file,) = results.glob("night_cost-*.json")
    found = json.loads(file.read_text())["tables"]
    counted = next(rows for title, rows in found.items() if title.startswith("Counted: ") and "blocks of 16" in title)
    assert {"what": "pairs", "count": 4} in counted
    assert found["Scoring"][-1]["G pairs scored"] == pytest.approx(1e6 * 100 * 4 / 6 / 1e9)


def test_what_the_cache_misses_is_computed() -> None:
    plan = night_cost.Plan(1, 11, context=100, choice=20, remainder=4, cached_share=0.5)
    assert plan.prompt_tokens() == 1320
    assert plan.computed_tokens() == 1320 - 0.5 * 10 * 96


def test_gpu_hours_are_computed_tokens_over_the_rate() -> None:
    plan = night_cost.Plan(1000, 11, context=100, choice=20, remainder=4)
    assumed = {name: value for name, (value, _) in night_cost.ASSUMED.items()} | {"rate": 100.0}
    found = ByteCounts(0.9, context_user=1, context_pair=1, wanted_pair=1, score=1, selection=1, logged=1)
    (_, scoring_rows), *_ = night_cost.tables(plan, assumed, found)
    assert scoring_rows[-1]["users changed"] == "100%"
    assert scoring_rows[-1]["GPU-hours FP8"] == pytest.approx(1000 * (1320 - 960) / 100 / 3600)
    assert scoring_rows[-1]["FP8, no cache"] == pytest.approx(1000 * 1320 / 100 / 3600)


def test_only_what_changed_is_stored_anew() -> None:
    found = ByteCounts(0.9, context_user=100, context_pair=10, wanted_pair=2, score=50, selection=70, logged=60)
    plan = night_cost.Plan(1e9, titles=18, context=100, choice=20, remainder=4)
    row = night_cost.storage_row(plan, {"titles": 20, "kept-nights": 30}, found, 0.1)
    written = {"wanted_pairs": 40, "user_contexts": 28, "artwork_scores": 90, "artwork_selection_log": 120}
    assert {name: row[name] for name in written} == pytest.approx({name: size / 1e3 for name, size in written.items()})
    assert row["artwork_selections"] == pytest.approx(1.4)
    assert row["all kept"] == pytest.approx(30 * 0.278 + 1.4)


def test_lookups_find_their_pairs(tmp_path: Path) -> None:
    assert (
        lookups.main(["--rows", "1000", "--lookups", "2", "--results", str(tmp_path), "--scratch", str(tmp_path)]) == 0
    )
    (file,) = tmp_path.glob("lookups-*.json")
    (rows,) = json.loads(file.read_text())["tables"].values()
    assert (rows[0]["rows"], rows[0]["buckets"]) == (1000, 1)
    assert rows[0]["ms"] > 0
    assert rows[0]["KiB read"] > 0
    lookups.make_selections(tmp_path / "w", 1000)
    with pytest.raises(LookupError, match="no row was found"):
        lookups.looked_up(Selections.of(str(tmp_path / "w")), [("u0", "no title")])


@pytest.mark.slow
def test_two_sides_are_compared(tmp_path: Path) -> None:
    arguments = ["--users", "2", "--repeats", "1", "--sides", "text_sorted"]
    assert scoring.main([*arguments, "--results", str(tmp_path), "--scratch", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("scoring-*.json")
    speeds, cache = json.loads(file.read_text())["tables"].values()
    assert [row["side"] for row in speeds] == ["marquee", "text_sorted"]
    assert cache[0]["ratio"] == pytest.approx(1, abs=0.05)
