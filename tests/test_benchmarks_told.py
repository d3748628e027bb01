"""The tables that a benchmark prints at its end: what it measured for an hour must not be lost to a column too many."""

from __future__ import annotations

from benchmarks import engines, memory, merges, nights, prompts, work_lost
from benchmarks.merges import Merged
from benchmarks.prompts import FLAT_JOIN, OURS, Built, Side
from benchmarks.scoring_process import Scoring
from benchmarks.spark_nights import Counted
from benchmarks.spark_stages import Stage
from benchmarks.work_lost import Killed, Survived


def cells(table: str) -> list[list[str]]:
    """The rows of a Markdown table, without its ruler."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert len({len(line) for line in lines}) == 1
    return [lines[0], *lines[2:]]


def row(table: str, place: int) -> dict[str, str]:
    """A row of a Markdown table, by column; of columns of one name the last."""
    header, *rows = cells(table)
    return dict(zip(header, rows[place], strict=True))


def test_prompts_tell_the_flat_join_over_marquee() -> None:
    ours = Side([Built(2.0, 2**20, 0, []), Built(4.0, 2**20, 0, [])], stored=40_000)
    flat = Side([Built(9.0, 5 * 2**20, 2**20, [])], stored=1_200_000)
    table = prompts.told_sizes({1000: {OURS: ours, FLAT_JOIN: flat}})
    first = row(table, 0)
    assert (first["seconds"], first["ms a user"], first["bytes a pair"]) == ("3.0", "3.000", "2.00")
    compared = row(table, 2)
    assert (compared["seconds"], compared["MB shuffled"], compared["bytes a pair"]) == ("3.00 ×", "5.00 ×", "30.00 ×")


def test_skew_is_told_of_stages_with_several_tasks_that_read() -> None:
    stages = [
        Stage("save at X", [1.0, 1.0, 2.5], [10, 10, 20], 0, 0),
        Stage("one", [9.0], [5], 0, 0),
        Stage("log", [1, 2], [0, 0], 0, 0),
    ]
    header, *rows = cells(prompts.told_skew(stages, "even"))
    assert rows == [["even", "`save`", "3", "1.00", "2.50", "2.50", "2.00"]]
    assert len(header) == len(rows[0])


def counts(changed: int, redrawn: int, rewritten: int) -> Counted:
    return Counted(1000, changed, redrawn, asked=changed, rewritten=rewritten, feed=110, files_added=2, files_removed=0)


def test_nights_tell_each_count_over_what_was_due() -> None:
    seconds = dict.fromkeys(nights.STEPS, 10.0)
    idle = nights.Night("0 %", counts(0, 0, 0), seconds, 0.0)
    full = nights.Night("100 %", counts(900, 0, 900), {**seconds, "score": 100.0}, 60.0)
    some = nights.Night("10 %", counts(90, 10, 110), seconds, 2.0)
    told = row(nights.told_rows([idle, some, full]), 1)
    assert (told["/ changed"], told["rewritten"], told["/ due"]) == ("1.00", "110", "1.10")
    assert row(nights.told_rows([idle]), 0)["/ changed"] == "–"
    timed = row(nights.told_seconds([idle, some, full], idle, full), 2)
    told_columns = ("all", "fixed", "fixed + share", "all / that")
    assert [timed[column] for column in told_columns] == ["150.0", "100.0", "150.0", "1.00"]


def test_merges_tell_rows_written_over_rows_changed() -> None:
    metrics = {"numTargetRowsCopied": 50, "numTargetBytesAdded": 2**20, "numTargetFilesAdded": 3}
    runs = [Merged(2.0, 100, metrics), Merged(4.0, 100, metrics)]
    told = row(merges.told({(1000, 2, 0.1): runs}, {1000: 2**22}), 0)
    told_columns = ("seconds", "written / changed", "of the table", "files +")
    assert [told[column] for column in told_columns] == ["3.0", "1.50", "0.25", "3"]


def test_work_lost_tells_passes_and_rows() -> None:
    again, alone = Killed(1000, 520, 530, 50, 40, again=True), Killed(1000, 520, 500, 50, 40, again=False)
    table = work_lost.told_killed({"ray_data": {work_lost.ENGINE: alone, work_lost.ALL: again}})
    assert [row(table, place)["came to its end"] for place in (0, 1)] == ["by itself", "was run again"]
    told = row(table, 1)
    assert (told["all / one pass"], told["pairs on disk"]) == ("1.050", "40")
    told = row(work_lost.told_survived({"marquee": Survived(998, 1, "well")}, 1000, 1), 0)
    assert (told["lost"], told["ended"]) == ("1", "well")


def test_memory_tells_how_many_times_the_smallest() -> None:
    table = memory.told({1000: Scoring(9.0, 5.0, 1000, 2000), 11_000: Scoring(9.0, 5.0, 1100, 22_000)})
    assert row(table, 0)["times the smallest"] == "1.000"
    assert (row(table, 1)["times the smallest"], row(table, 1)["more KB a user"]) == ("1.100", "10.2")


def test_engines_tell_how_many_times_as_fast() -> None:
    table = engines.told({"one engine": [Scoring(30.0, 20.0, 9, 400)], "two": [Scoring(20.0, 10.0, 9, 400)]})
    told_columns = ("as fast", "as fast, scoring", "pairs/s")
    assert [row(table, 1)[column] for column in told_columns] == ["1.50 ×", "2.00 ×", "40"]
