"""What is tried, what a smaller cache is measured by, and what is said of both. No engine is started."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cache_size, tried
from benchmarks.agreement import Agreement
from benchmarks.cache_size import Caches, Counted, Order, blocks_of, halved, prompts_in, smallest_held
from benchmarks.peers.__main__ import SIDES
from benchmarks.peers.choices_first import choice_first
from benchmarks.peers.job import Job
from benchmarks.peers.small_cache import BY_TITLE, BY_USER, IN_ROTATIONS, ORDERS
from benchmarks.peers.title_by_title import title_by_title
from benchmarks.prompt_bucket import MEASURED, ROTATIONS, TITLES_PER_USER, make_nights
from benchmarks.sides import OURS, Measured, Run, run_to_its_end, type_ran
from inference.questions import Choice, Question, read_choices
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.settings import Settings
from schemas.tables import USER_CONTEXTS
from tests.test_benchmarks_told import cells, row

USERS = 3


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tried") / "night"
    make_nights(folder, USERS, orderings=4)
    return folder


def questions_of(night: Path) -> list[Question]:
    return cache_size.read_questions(Job(str(night), Settings().model, "", 0))


def test_one_thing_is_changed_at_a_time() -> None:
    ways = tried.ways(Settings(), {2, 5})
    assert next(iter(ways)) == OURS
    assert ways[OURS].settings == {}
    assert ways["max_num_seqs=64"].settings == {"MARQUEE_MAX_NUM_SEQS": "64"}
    assert ways["one_thread"].processors == "2"
    assert ways["rotations"].settings == {"MARQUEE_FURTHER_ORDERS": "2", "MARQUEE_CLOSE_MARGIN": "1"}
    assert {way.side for way in ways.values()} <= SIDES.keys()
    # What is set already is the baseline.
    assert f"block_size={Settings().block_size}" not in ways
    assert "block_size=32" in tried.ways(Settings(block_size=64), {0})


def test_every_change_is_a_setting_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in tried.ways(Settings(), {0}).values():
        with monkeypatch.context() as patched:
            for name, value in way.settings.items():
                patched.setenv(name, value)
            changed = Settings().model_dump()
        own = Settings().model_dump()
        assert {f"MARQUEE_{name.upper()}" for name in own if changed[name] != own[name]} == way.settings.keys()


@pytest.mark.parametrize("order", tried.USERS_ORDERS)
def test_users_are_scored_in_another_order(night: Path, tmp_path: Path, order: str) -> None:
    key = tried.USERS_ORDERS[order][1]
    tried.reorder(night, tmp_path / "copy", key)
    columns, folders = ["user_id", "context", "pairs"], (night, tmp_path / "copy")
    before, after = (list(Night(str(folder), MEASURED).rows(USER_CONTEXTS, columns)) for folder in folders)
    assert after == sorted(before, key=key)


def test_a_night_has_all_rotations_and_wants_the_first(night: Path) -> None:
    for each in questions_of(night):
        first, asked = each.artwork_ids, [order.artwork_ids for order in each.orders]
        assert asked == [first[turn:] + first[:turn] for turn in range(ROTATIONS)]


def test_title_by_title_asks_the_same_pairs(night: Path) -> None:
    job = Job(str(night), Settings().model, "", 0)
    opened, tokens = Night(str(night), MEASURED), Tokens(job.checkpoint)
    choices = read_choices(opened, tokens)
    contexts = opened.rows(USER_CONTEXTS, ["user_id", "context", "pairs"])
    groups = list(title_by_title(contexts, choices, tokens, 4095))
    assert all(len({each.title_id for each in group if isinstance(each, Question)}) == 1 for group in groups)
    asked = [each.prompt for each in chain.from_iterable(groups) if isinstance(each, Question)]
    own = questions_of(night)
    assert asked == prompts_in(BY_TITLE, own)
    assert Counter(map(tuple, asked)) == Counter(map(tuple, prompts_in(BY_USER, own)))
    assert len(prompts_in(IN_ROTATIONS, own)) == ROTATIONS * USERS * TITLES_PER_USER


def test_the_choice_stands_before_the_context_and_the_answer_last() -> None:
    question = Question("u", "t", 0, [0, 1, 2], [Choice(["a", "b"], array("i", [7, 8, 9]))], shortened=False)
    turned = choice_first(question, 1, [9])
    assert turned.prompt == [0, 7, 8, 1, 2, 9]
    assert turned.artwork_ids == ["a", "b"]
    assert choice_first(question, 0, [9]).prompt == [7, 8, 0, 1, 2, 9]


def test_each_way_is_told_and_a_failure_says_how() -> None:
    ways = tried.ways(Settings(), {0})
    shown = {name: ways[name] for name in (OURS, "bfloat16", "classify")}
    runs = {
        OURS: [Run(2.0, 9.0, 1.0, 400, 100, 1), Run(4.0, 9.0, 1.0, 400, 100, 1), Run(3.0, 9.0, 1.0, 400, 100, 1)],
        "bfloat16": [Run(1.5, 9.0, 1.0, 400, 120, 1)],
    }
    agreements = {name: Agreement(60, difference, 0, 0) for name, difference in ((OURS, 0.0), ("bfloat16", 0.02))}
    table = tried.told(shown, Measured(runs, agreements, {"classify": "ended with status 1:\nValueError: no"}), 60)
    assert row(table, 0)["pairs/s"] == "20.0 (15.0–30.0)"
    told = row(table, 1)
    assert (told["of the baseline"], told["largest difference"]) == ("2.00 ×", "2.0e-02")
    assert told["computed / prompt tokens"] == "120 / 400 = 0.300"
    assert row(table, 2)["changed"].endswith("FAILED, ValueError: no")


def test_whole_blocks_are_shared_and_last_ones_are_not() -> None:
    assert blocks_of([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]], 2) == 4
    assert blocks_of([[1, 2, 3, 4], [1, 2, 3, 4]], 2) == 2


def test_sizes_halve_down_to_the_least() -> None:
    assert halved(100, 20) == [100, 50, 25, 20]
    assert halved(10, 20) == [20]


@pytest.mark.parametrize("edge", [20, 33, 60, 100])
def test_the_smallest_size_that_holds_is_found(edge: int) -> None:
    found = smallest_held(halved(100, 20), lambda size: size >= edge)
    assert found is not None
    assert edge <= found <= edge * 1.1 + 1


def test_where_nothing_holds_no_size_is_found() -> None:
    assert smallest_held([100, 50], lambda size: size > 100) is None


def test_sizes_are_told_of_what_they_hold() -> None:
    assert ORDERS.keys() == {BY_USER, BY_TITLE, IN_ROTATIONS}
    found = {60: {BY_USER: Counted(2.0, 1000, 300)}, 30: {BY_USER: Counted(4.0, 1000, 650)}}
    table = cache_size.told(found, {BY_USER: Order(700, 40)}, 15, 60)
    first, second = row(table, 0), row(table, 1)
    assert (first["/ longest"], first["/ in flight"], first["of the most"]) == ("4.00", "1.50", "1.0000")
    assert (second["computed / prompt"], second["of the most"], second["pairs/s"]) == ("0.650", "0.5000", "15")


def test_the_fall_is_told_in_users() -> None:
    assert cache_size.told_fall(BY_TITLE, 55, [100, 20], 10).endswith("below 55 blocks, where 5.5 users' contexts fit")
    assert "even with 100 blocks" in cache_size.told_fall(BY_TITLE, None, [100, 20], 10)
    assert "not even with the 20 blocks" in cache_size.told_fall(BY_USER, 20, [100, 20], 10)


def test_a_process_that_fails_is_quoted(tmp_path: Path) -> None:
    run_to_its_end(["true"], os.environ, tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"status 3; the end of .*log:\nno cache"):
        run_to_its_end(["bash", "-c", "echo no cache; exit 3"], os.environ, tmp_path / "log")


def test_everything_tried_ends_in_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ran(side: str, job: Job, *_: object) -> type_ran:
        if side == "classify":
            raise RuntimeError("ended with status 1; the end of log:\nno such task")
        pairs = [{"user_id": row["user_id"], "title_id": row["title_id"]} for row in job.prompts(MEASURED)]
        scores = [{**pair, "probabilities": [1.0, 0.0, 0.0], "answer": None} for pair in pairs]
        return Run(2.0, 1.0, 0.5, 100, 40, 1), scores

    monkeypatch.setattr(tried, "run_side", ran)
    monkeypatch.setattr("sys.argv", ["tried", "--users", "2", "--repeats", "2", "--scratch", str(tmp_path)])
    assert tried.main() == 0
    table = "\n".join(line for line in capsys.readouterr().out.splitlines() if line.startswith("|"))
    lines = cells(table)[1:]
    assert len(lines) == len(tried.ways(Settings(), {0}))
    assert lines[0][:2] == ["nothing: the baseline", "20.0 (20.0–20.0)"]
    assert lines[-1][0].endswith("FAILED, no such task")


def test_a_size_is_found_for_each_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edges = {BY_USER: 0, BY_TITLE: 100, IN_ROTATIONS: 40}

    def ran(caches: Caches, blocks: int) -> dict[str, dict[str, Any]]:
        asked = cache_size.read_questions(caches.job)
        found = {}
        for order, edge in edges.items():
            prompts = prompts_in(order, asked)
            tokens, most = sum(map(len, prompts)), cache_size.counted(prompts, 32, 1).found_at_most
            computed = tokens - (most if blocks >= edge else most // 2)
            found[order] = {"seconds": 1.0, "prompt_tokens": tokens, "computed_tokens": computed, "scores": []}
        return found

    monkeypatch.setattr(Caches, "run", ran)
    monkeypatch.setattr("sys.argv", ["cache_size", "--users", "2", "--scratch", str(tmp_path)])
    assert cache_size.main() == 0
    *_, by_user, by_title, in_rotations = capsys.readouterr().out.splitlines()
    assert by_user.startswith(f"{BY_USER}: no context falls out")
    assert 100 <= int(by_title.split(" below ")[1].split()[0]) <= 110
    assert 40 <= int(in_rotations.split(" below ")[1].split()[0]) <= 45
