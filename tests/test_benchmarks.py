"""What decides what a benchmark measures and what is said of it; the measuring itself is not tested."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.agreement import compare
from benchmarks.cached_share import EndlessCache, found_tokens, told
from benchmarks.engines import ways
from benchmarks.files_read import OpenedFiles, bytes_read
from benchmarks.lookups import KEPT_OPEN, READERS, lookups_of, measure, some_pairs
from benchmarks.night_cost import Plan, gpu_hours, stored_bytes
from benchmarks.night_counts import ByteCounts, byte_counts, token_counts, watched_share
from benchmarks.peers.__main__ import SIDES
from benchmarks.peers.job import Job
from benchmarks.peers.llm import token_counts as counted_outputs
from benchmarks.peers.progress import Counts, new_progress, read_progress
from benchmarks.peers.text_script import cache_blocks, parsed
from benchmarks.prompt_bucket import MEASURED, TITLES_PER_USER, TOO_LONG, WARM_UP, make_nights, prompts_file
from benchmarks.recipes import recipes
from benchmarks.repeats import alternating, rate
from benchmarks.report import markdown
from benchmarks.scoring import GOALS, count
from benchmarks.selections_table import make_selections
from benchmarks.tried import ways as ways_tried
from benchmarks.work_lost import KILLS, Killed, Survived
from inference.checkpoint import Checkpoint
from inference.tokens import Tokens
from inference.warehouse import Night
from schemas.buckets import bucket_of
from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    SCORING_RUNS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    VIEWING_HISTORY,
    WANTED_PAIRS,
)
from tests.inference_data import DS, append, choice_row, context, context_row, make_night


def test_every_second_repeat_is_in_reverse() -> None:
    assert alternating(["a", "b", "c"], 3) == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]


def test_a_rate_is_that_of_the_median_time() -> None:
    found = rate(120, [2.0, 60.0, 3.0])
    assert (found.median, found.low, found.high) == (40, 2, 60)


def test_every_side_is_measured() -> None:
    tried = {way.side for way in ways_tried(Settings(), {0}).values()}
    assert SIDES.keys() == GOALS.keys() | KILLS.keys() | tried


def scored(probabilities: list[float] | None, answer: int | None = None, title: str = "t1") -> dict[str, Any]:
    return {"user_id": "u", "title_id": title, "probabilities": probabilities, "answer": answer}


def test_sides_agree_within_the_tolerance() -> None:
    reference = [scored([0.6, 0.4]), scored([0.5, 0.5], title="t2")]
    near = compare("side", reference, [scored([0.5, 0.5], title="t2"), scored([0.6004, 0.3996])], 1e-3)
    assert near.largest == pytest.approx(4e-4)
    with pytest.raises(ContractError, match=r"side: probabilities differ by up to 0\.0"):
        compare("side", reference, [scored([0.62, 0.38]), reference[1]], 1e-3)
    with pytest.raises(ContractError, match="1 pairs were scored, but not the 2"):
        compare("side", reference, reference[:1], 1e-3)
    with pytest.raises(ContractError, match="3 scores of 2 pairs, expected one of each"):
        compare("side", reference, [*reference, reference[0]], 1e-3)


def test_an_answer_is_right_if_it_is_the_best_option_or_as_good() -> None:
    reference = [scored([0.6, 0.4]), scored([0.5, 0.5], title="t2")]
    found = compare("side", reference, [scored(None, 1), scored(None, 2, "t2")], 1e-3)
    assert (found.pairs, found.largest, found.answered, found.best) == (2, None, 2, 2)
    assert compare("side", reference, [scored(None), scored(None, None, "t2")], 1e-3).answered == 0
    assert compare("side", reference, [scored(None, 2), scored(None, 2, "t2")], 1e-3).best == 1


def test_an_answer_is_the_first_number_of_an_option() -> None:
    assert parsed(" 2\nTitle: 3", 3) == 2
    assert parsed("11111111", 3) == 1
    assert parsed("12", 40) == 12
    assert parsed("4", 3) is None
    assert parsed("none of them", 3) is None


def test_a_cache_holds_its_share_of_the_contexts_and_at_least_a_prompt() -> None:
    assert cache_blocks(320_000, 1 / 20, 32) == 501
    assert cache_blocks(6_000, 1 / 20, 32) == 17


def test_tokens_generated_are_computed_but_for_the_last() -> None:
    output = SimpleNamespace(
        prompt_token_ids=list(range(10)), num_cached_tokens=4, outputs=[SimpleNamespace(token_ids=[1, 2, 3])]
    )
    outputs: list[Any] = [output, output]
    assert counted_outputs(outputs) == (20, 16)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = tmp_path_factory.mktemp("nights")
    make_nights(warehouse, users=6)
    return warehouse


def test_every_side_finds_the_same_pairs_and_texts(nights: Path) -> None:
    night = Night(str(nights), MEASURED)
    choices = {row["title_id"]: row for row in night.rows(TITLE_CHOICES, ["title_id", "artwork_ids", "choice"])}
    contexts = list(night.rows(USER_CONTEXTS, ["user_id", "context", "pairs"], bucket=0))
    flat = pq.read_table(prompts_file(nights, MEASURED)).to_pylist()
    assert {(row["user_id"], row["title_id"], row["options"], row["prompt"]) for row in flat} == {
        (row["user_id"], pair["title_id"], 3, row["context"] + choices[pair["title_id"]]["choice"])
        for row in contexts
        for pair in row["pairs"]
    }
    assert len(flat) == 6 * TITLES_PER_USER
    assert [row["user_id"] for row in contexts] == sorted(row["user_id"] for row in contexts)
    # A user's pairs do not stand together.
    assert Counter(one["user_id"] == next_["user_id"] for one, next_ in pairwise(flat))[True] < 60
    warm = {row["user_id"] for row in Night(str(nights), WARM_UP).rows(USER_CONTEXTS, ["user_id"])}
    assert warm
    assert not warm & {row["user_id"] for row in contexts}


def test_prompts_have_the_lengths_that_are_promised(nights: Path) -> None:
    bucket = count(Job(str(nights), Settings().model, "", 0))
    assert bucket.pairs == 6 * TITLES_PER_USER
    assert bucket.context_tokens / 6 == pytest.approx(300, rel=0.1)
    assert bucket.prompt_tokens / bucket.pairs - bucket.context_tokens / 6 == pytest.approx(80, rel=0.15)


@given(
    context=st.integers(1, 200), choice=st.integers(1, 90), titles=st.integers(1, 30), block=st.sampled_from([16, 32])
)
def test_computed_tokens_are_what_an_endless_cache_leaves(context: int, choice: int, titles: int, block: int) -> None:
    cache = EndlessCache(block)
    # Choices that differ from their first token on.
    prompts = [[-1] * context + [title] * choice for title in range(titles)]
    computed = sum(len(prompt) - cache.ask(prompt) for prompt in prompts)
    assert Plan(1, titles, context, choice, context % block).computed_tokens() == computed


def test_what_the_cache_misses_is_computed() -> None:
    plan = Plan(1, 11, context=100, choice=20, remainder=4, cached_share=0.5)
    assert plan.prompt_tokens() == 1320
    assert plan.computed_tokens() == 1320 - 0.5 * 10 * 96


def test_gpu_hours_are_seconds_over_3600() -> None:
    assert gpu_hours(7_200_000, 1000) == 2


def test_only_what_changed_is_stored_anew() -> None:
    found = ByteCounts(context_user=100, context_pair=10, wanted_pair=2, score=50, selection=70, logged=60, prompt=900)
    written = stored_bytes(users=1000, titles=20, asked=18, share=0.1, found=found)
    assert written == {
        "wanted_pairs": 1000 * 20 * 2,
        "user_contexts": 100 * (100 + 18 * 10),
        "artwork_scores": 100 * 18 * 50,
        "artwork_selection_log": 100 * 20 * 60,
        "artwork_selections": 1000 * 20 * 70,
    }


def selection(user: str, title: str, source: str) -> dict[str, Any]:
    return {
        "bucket": 0,
        "user_id": user,
        "title_id": title,
        "artwork_id": "a",
        "probability": 1.0,
        "propensity": 1.0,
        "ranking": [],
        "source": source,
        "ds": DS,
        "updated_at": datetime(2026, 1, 6, tzinfo=UTC),
    }


@pytest.fixture
def counted_night(tmp_path: Path, random_checkpoint: Checkpoint) -> Night:
    """Two users of two pairs each, one of whom watched something; a third pair of one had no choice to make."""
    users = [context_row(user, 0, context("drama", *history), ["t1", "t2"]) for user, history in HISTORIES.items()]
    make_night(tmp_path, random_checkpoint, users, [choice_row("t1", 2), choice_row("t2", 5)], buckets=1)
    published = [selection(user, title, "model") for user in HISTORIES for title in ("t1", "t2")]
    append(tmp_path, ARTWORK_SELECTIONS, [*published, selection("a", "t3", "only_choice")])
    append(tmp_path, ARTWORK_SELECTION_LOG, published)
    scores = [
        {**row, "artwork_ids": ["a"], "probabilities": [1.0], "model_version": "m", "prompt_hash": 1}
        for row in ({k: one[k] for k in ("ds", "bucket", "user_id", "title_id")} for one in published)
    ]
    append(tmp_path, ARTWORK_SCORES, scores)
    append(
        tmp_path,
        WANTED_PAIRS,
        [{"ds": DS, "bucket": 0, "user_id": user, "title_ids": ["t1", "t2"]} for user in HISTORIES],
    )
    viewing = {"user_id": "a", "title_id": "t1", "watched_at": datetime(2026, 1, 5, 9, tzinfo=UTC), "completion": 1.0}
    yesterday = {**viewing, "user_id": "b", "watched_at": datetime(2026, 1, 4, tzinfo=UTC)}
    append(
        tmp_path,
        VIEWING_HISTORY,
        [{**viewing, "watch_date": DS}, {**yesterday, "watch_date": date(2026, 1, 4)}],
    )
    return Night(str(tmp_path), DS)


HISTORIES = {"a": ["Film 1", "Film 2"], "b": ["Film 3"]}


def test_a_night_is_counted_as_it_is_asked(counted_night: Night, random_checkpoint: Checkpoint) -> None:
    tokens = Tokens(random_checkpoint)
    found = token_counts(counted_night, tokens, 1023, 32)
    lengths = [len(tokens.context(context("drama", *history)).ids) for history in HISTORIES.values()]
    choices = [len(tokens.ids(choice_row("t1", 2)["choice"])), len(tokens.ids(choice_row("t2", 5)["choice"]))]
    assert (found.users, found.pairs, found.asked_share) == (2, 4, 4 / 5)
    assert found.context == sum(lengths) / 2
    assert found.choice == pytest.approx(sum(choices) / 2)
    assert found.remainder == sum(length % 32 for length in lengths) / 2
    assert 0 < found.computed < 2 * sum(lengths) + 2 * sum(choices)
    assert watched_share(counted_night) == 0.5


def test_bytes_are_counted_by_user_and_by_pair(counted_night: Night) -> None:
    found = byte_counts(counted_night)
    texts = [
        len(context("drama", *history)) + len(choice_row(title, options)["choice"])
        for history in HISTORIES.values()
        for title, options in (("t1", 2), ("t2", 5))
    ]
    assert found.prompt == sum(texts) / 4
    assert min(vars(found).values()) > 0


def test_a_night_without_questions_is_told(tmp_path: Path, random_checkpoint: Checkpoint) -> None:
    make_night(tmp_path, random_checkpoint, [], [choice_row("t1", 2)])
    with pytest.raises(ContractError, match="user_contexts has no pair for ds=2026-01-05"):
        token_counts(Night(str(tmp_path), DS), Tokens(random_checkpoint), 1023, 32)


def test_what_a_night_found_is_told_of_what_its_cache_could_have(tmp_path: Path, random_checkpoint: Checkpoint) -> None:
    make_night(tmp_path, random_checkpoint, [context_row("u", 0, context("drama"), ["t1", "t2"])], [], buckets=1)
    append(tmp_path, TITLE_CHOICES, [choice_row("t1", 2), choice_row("t2", 3)])
    night, config = Night(str(tmp_path), DS), Settings(block_size=1)
    tokens = Tokens(random_checkpoint)
    texts = [context("drama") + choice_row(title, options)["choice"] for title, options in (("t1", 2), ("t2", 3))]
    first, second = ([*tokens.context(text).ids] for text in texts)
    most = next(place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    run = {"ds": DS, "bucket": 0, "pairs": 2, "rejected": 0, "shortened": 0, "asked_again": 0, "cached_tokens": 1}
    run |= {"seconds": 1.0, "model_version": "m@1", "input_fingerprint": "f", "prompt_tokens": len(first + second)}
    append(tmp_path, SCORING_RUNS, [run])
    assert told(night, config).splitlines()[1].startswith(f"most that blocks of 1 allow: {most:,} ")
    assert told(night, config).endswith(f"{1 / most:.1%} of the most")


def test_a_cache_is_measured_on_a_night_that_asked_each_pair_once(tmp_path: Path) -> None:
    run = {"ds": DS, "pairs": 2, "rejected": 0, "shortened": 0, "prompt_tokens": 100, "cached_tokens": 30}
    run |= {"seconds": 1.0, "model_version": "m@1", "input_fingerprint": "f", "asked_again": 0}
    once, again = tmp_path / "once", tmp_path / "again"
    append(once, SCORING_RUNS, [{**run, "bucket": bucket} for bucket in (0, 1)])
    assert found_tokens(Night(str(once), DS), 200) == 60
    with pytest.raises(ContractError, match=r"200 prompt tokens were asked on ds=2026-01-05, but .* have 300"):
        found_tokens(Night(str(once), DS), 300)
    append(again, SCORING_RUNS, [{**run, "bucket": 0, "asked_again": 1}])
    with pytest.raises(ContractError, match=r"1 pairs were asked in further orders .* MARQUEE_FURTHER_ORDERS=0"):
        found_tokens(Night(str(again), DS), 100)


def test_the_files_that_are_opened_are_seen(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    read, unread = tmp_path / "folder" / "read", tmp_path / "unread"
    read.write_bytes(b"x" * 100_000)
    unread.write_bytes(b"x")
    opened, before = OpenedFiles(tmp_path), bytes_read()
    read.read_bytes()
    assert opened.take() == {read}
    assert bytes_read() - before >= 100_000
    assert opened.take() == set()
    opened.close()


def test_a_lookup_opens_one_file_of_data_whatever_the_reader(tmp_path: Path) -> None:
    make_selections(tmp_path, rows=1000, buckets=4)
    assert len(list((tmp_path / ARTWORK_SELECTIONS.name).rglob("bucket=*/*.parquet"))) == 4
    pairs = some_pairs(1000, 5)
    for lookup in lookups_of(tmp_path, ["deltalake", "Polars", "DuckDB"], None).values():
        found = measure(lookup, pairs, tmp_path / ARTWORK_SELECTIONS.name)
        assert found.data_files == 1
    kept_open = lookups_of(tmp_path, [], None)[KEPT_OPEN]
    (row,) = kept_open(*pairs[0])
    assert sum(option["propensity"] for option in row["ranking"]) == pytest.approx(1)
    with pytest.raises(LookupError, match="0 rows were found"):
        measure(kept_open, [("u0", "no title")], tmp_path / ARTWORK_SELECTIONS.name)


def test_every_reader_has_a_recipe_for_one_pair() -> None:
    assert {(reader, "One pair") for reader in READERS} <= recipes().keys()


def test_a_table_is_markdown_that_lines_up() -> None:
    assert markdown(("side", "s"), [["ours", "1.5"], ["theirs", "12.25"]]) == (
        "| side   |     s |\n| ------ | ----: |\n| ours   |   1.5 |\n| theirs | 12.25 |"
    )


def test_buckets_and_prompts_that_are_too_long_are_as_many_as_asked(tmp_path: Path) -> None:
    make_nights(tmp_path, users=12, titles_per_user=3, buckets=4, too_long_every=5)
    rows = list(Night(str(tmp_path), MEASURED).rows(USER_CONTEXTS, ["user_id", "bucket", "pairs"]))
    assert len(rows) == 12
    assert all(row["bucket"] == bucket_of(row["user_id"], 4) for row in rows)
    assert [len(row["pairs"]) for row in rows] == [3] * 12
    too_long = [(row["user_id"], row["pairs"][-1]["title_id"]) for row in sorted(rows, key=lambda row: row["user_id"])]
    assert [place for place, (_, title_id) in enumerate(too_long, 1) if title_id == TOO_LONG] == [5, 10]
    flat = pq.read_table(prompts_file(tmp_path, MEASURED)).to_pylist()
    checkpoint = Job(str(tmp_path), Settings().model, "", 0).checkpoint
    lengths = {row["title_id"]: len(Tokens(checkpoint).context(row["prompt"]).ids) for row in flat}
    assert lengths.pop(TOO_LONG) > checkpoint.max_model_len
    assert max(lengths.values()) < checkpoint.max_model_len


def test_progress_is_read_from_outside_the_process(tmp_path: Path) -> None:
    new_progress(tmp_path / "progress")
    assert read_progress(tmp_path / "progress") == Counts()


def test_a_pass_that_was_killed_half_way_and_lost_nothing_costs_one_pass() -> None:
    assert Killed(one_pass=1000, before=500, after=500, answered=5, kept=4, again=True).passes == 1
    # Nothing was kept of the first half.
    assert Killed(one_pass=1000, before=500, after=1000, answered=5, kept=0, again=True).passes == 1.5


def test_what_is_neither_scored_nor_told_is_lost() -> None:
    assert Survived(scored=999, rejected=1, ended="well").lost(1000) == 0
    assert Survived(scored=0, rejected=0, ended="status 1").lost(1000) == 1000


def test_two_engines_share_the_processors() -> None:
    assert ways(2)["two engines, half the processors each"] == ["0-0", "1-1"]
    assert ways(5)["two engines, half the processors each"] == ["0-1", "2-4"]
    assert next(iter(ways(4))) == "one engine"
