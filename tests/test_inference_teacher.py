"""The teacher: its prompt, its text as a reason, and a student that learns from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from starlette.testclient import TestClient

from browsing.app import application
from inference.checkpoint import Checkpoint
from inference.engine import Engine, EngineError, Refusal, Text
from inference.reasons import Reasons, reason_for
from inference.teacher import reason_of, teach, teacher_prompt
from inference.tokens import Tokens
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.prompt import LABELS
from schemas.tables import POST_TRAINING_EXAMPLES, TEACHER_REASONS
from tests.browsing_data import make_warehouse
from tests.conftest import RunMarquee
from tests.inference_data import DS, append, running, settings_for, stored
from tests.page_text import page_text
from tests.training_data import VIEWINGS, example, make_source
from training import reasoning
from training.data import IGNORED, open_source
from training.settings import Reasoning
from training.stage import Stage

ROOM = 900


@pytest.fixture(scope="module")
def tokens(random_checkpoint: Checkpoint) -> Tokens:
    return Tokens(random_checkpoint)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Six plays of training users; a held-out user's play and an impression without one are not explained."""
    others = [example(6, split="held_out"), example(7, played=False)]
    make_source(tmp_path, [*(example(number) for number in range(6)), *others])
    return tmp_path


class WritingEngine:
    """Continues the prompts with `texts` in turn; None is a refusal."""

    def __init__(self, tokens: Tokens, *texts: str | None) -> None:
        self.tokens, self.texts_in_turn = tokens, texts
        self.prompts: list[str] = []

    def texts(
        self, prompts: Iterable[tuple[Any, list[int]]], most: int, ends: Iterable[int]
    ) -> Iterator[tuple[Any, Text | Refusal]]:
        for place, (key, prompt) in enumerate(prompts):
            self.prompts.append(self.tokens.text(prompt))
            text = self.texts_in_turn[place % len(self.texts_in_turn)]
            if text is None:
                yield key, Refusal("no")
                continue
            ids = self.tokens.ids(text)
            end = next((at for at, each in enumerate(ids, start=1) if each in set(ends)), len(ids))
            yield key, Text(ids[: min(end, most)], 0)


def reasons(warehouse: Path) -> list[dict[str, Any]]:
    return stored(warehouse, TEACHER_REASONS, "user_id", "model_version")


def test_a_teachers_prompt_has_the_true_answer_and_the_request(tokens: Tokens) -> None:
    of = example(1, options=2)
    prompt = teacher_prompt(tokens, of, ROOM)
    assert prompt is not None
    assert tokens.text(prompt) == (
        "Choose the artwork that the user is most likely to play.\n"
        "Leading themes: drama\n"
        "Watched, latest first:\n"
        "- Alien (1979): horror, sci-fi\n"
        "- Big (1988): comedy\n"
        "Title: Film 1\n"
        "1. caption 1 of Film 1\n"
        "2. caption 2 of Film 1\n"
        "Answer: 2\n"
        "In one sentence, without naming its number, explain why this user would choose that artwork.\n"
        "Because"
    )


def test_a_teacher_that_reads_letters_is_asked_not_to_name_its_letter(tokens: Tokens) -> None:
    lettered = copy(tokens)
    lettered.form = LABELS["letters"]
    prompt = teacher_prompt(lettered, example(1, options=2), ROOM)
    assert prompt is not None
    assert "Answer: B\nIn one sentence, without naming its letter, explain " in lettered.text(prompt)


def test_a_prompt_that_is_too_long_loses_its_oldest_history_or_is_left_out(tokens: Tokens) -> None:
    whole = teacher_prompt(tokens, example(2), ROOM)
    assert whole is not None
    shorter = teacher_prompt(tokens, example(2), len(whole) - 1)
    assert shorter is not None
    assert tokens.text(shorter) == tokens.text(whole).replace(f"- {VIEWINGS[2]}\n", "")
    assert teacher_prompt(tokens, example(2), 100) is None


def test_a_reason_is_one_line_that_begins_as_it_was_begun(tokens: Tokens) -> None:
    end_of_text = 1
    for written, expected in [
        (" this user likes war.\nAnswer: 2", "Because this user likes war."),
        (" of  a\u2028 war\t.", "Because of a war ."),
        ("", None),
        ("\nThis user likes war.", None),
        (" …!\n", None),
    ]:
        assert reason_of(tokens, tokens.ids(written)) == expected
    assert reason_of(tokens, [*tokens.ids(" of war."), end_of_text]) == "Because of war."


def test_a_line_ends_at_a_line_break_and_at_a_special_token(tokens: Tokens) -> None:
    ends = tokens.ends_of_line()
    assert tokens.special_ids < ends
    assert all("\n" in tokens.text([each]) for each in ends - tokens.special_ids)
    # A title's text does not end the line.
    written = tokens.ids("Because of <|eot_id|>.\n")
    assert [each in ends for each in written] == [False] * (len(written) - 1) + [True]


def test_every_play_has_a_reason_or_is_counted(
    warehouse: Path,
    random_checkpoint: Checkpoint,
    tokens: Tokens,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    endless = example(8, user_id="endless", context="word " * 1000)
    append(warehouse, POST_TRAINING_EXAMPLES, [endless])
    writer = WritingEngine(tokens, " of war.\nMore", None, " \n", " of war" * 30, " of love.\n", " of sea.\n")
    start = running(writer)
    counts = teach(DS, random_checkpoint, settings_for(warehouse), reason_tokens=24, start=start)
    assert counts == {"plays": 7, "reasons": 4, "cut_off": 1, "empty": 1, "refused": 1, "too_long": 1}
    assert "plays 7, reasons 4, cut_off 1, empty 1, refused 1, too_long 1" in capsys.readouterr().out
    assert "the engine refused a play of user" in caplog.text
    assert len(writer.prompts) == 6
    rows = reasons(warehouse)
    assert {row["reason"] for row in rows if len(row["reason"]) < 20} == {
        "Because of war.",
        "Because of love.",
        "Because of sea.",
    }
    assert {row["user_id"] for row in rows} < {f"u{number}" for number in range(6)}
    of = {row["user_id"]: row for row in (example(number) for number in range(6))}
    for row in rows:
        assert (row["ds"], row["model_version"]) == (DS, random_checkpoint.version)
        assert (row["title_id"], row["shown_at"]) == ("t1", of[row["user_id"]]["shown_at"])
        # With its line break it has at most as many tokens as the limit.
        assert len(tokens.ids(row["reason"] + "\n")) <= 24


def test_a_rerun_replaces_the_teachers_reasons_in_one_commit_and_no_other_teachers(
    warehouse: Path, random_checkpoint: Checkpoint, tokens: Tokens
) -> None:
    start = running(WritingEngine(tokens, " of war.\n"))
    teach(DS, random_checkpoint, settings_for(warehouse), reason_tokens=24, limit=2, start=start)
    assert len(reasons(warehouse)) == 2
    append(warehouse, TEACHER_REASONS, [{**reasons(warehouse)[0], "model_version": "other@1"}])
    before = DeltaTable(str(warehouse / TEACHER_REASONS.name)).version()
    start = running(WritingEngine(tokens, " of love.\n"))
    teach(DS, random_checkpoint, settings_for(warehouse), reason_tokens=24, start=start)
    assert DeltaTable(str(warehouse / TEACHER_REASONS.name)).version() == before + 1
    found = [(row["model_version"], row["reason"]) for row in reasons(warehouse)]
    assert sorted(found) == [("other@1", "Because of war.")] + [(random_checkpoint.version, "Because of love.")] * 6


def test_an_engine_that_dies_leaves_what_was_there(
    warehouse: Path, random_checkpoint: Checkpoint, tokens: Tokens
) -> None:
    class DyingEngine(WritingEngine):
        def texts(self, *arguments: Any) -> Iterator[tuple[Any, Text | Refusal]]:
            yield next(super().texts(*arguments))
            raise EngineError("out of memory")

    start = running(WritingEngine(tokens, " of war.\n"))
    teach(DS, random_checkpoint, settings_for(warehouse), reason_tokens=24, start=start)
    before = reasons(warehouse)
    start = running(DyingEngine(tokens, " of love.\n"))
    with pytest.raises(EngineError):
        teach(DS, random_checkpoint, settings_for(warehouse), reason_tokens=24, start=start)
    assert reasons(warehouse) == before != []


def test_errors_name_what_is_missing(
    tmp_path: Path, random_checkpoint: Checkpoint, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings_for(tmp_path)
    command = [
        "train",
        "reasons",
        "--warehouse",
        str(tmp_path),
        "--ds",
        str(DS),
        "--model",
        str(random_checkpoint.path),
    ]
    assert marquee(*command) == REFUSED
    assert "post_training_examples: there is no Delta table" in capsys.readouterr().err
    make_source(tmp_path, [example(1, played=False)])
    assert marquee(*command) == REFUSED
    assert "no training example that was played for ds=2026-01-05; run the step examples" in capsys.readouterr().err
    with pytest.raises(ContractError, match="--reason-tokens is 1"):
        teach(DS, random_checkpoint, config, reason_tokens=1)


@pytest.mark.slow
def test_texts_are_the_likeliest_tokens_up_to_an_end_or_the_limit(
    engine: Engine, random_checkpoint: Checkpoint, tokens: Tokens
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    prompts = [(number, teacher_prompt(tokens, example(number), ROOM) or []) for number in range(20)]
    whole = dict(engine.texts(prompts, 12, []))
    found = {key: text.ids for key, text in whole.items() if isinstance(text, Text)}
    assert all(len(ids) == 12 or ids[-1] in tokens.special_ids for ids in found.values())
    assert len(found[3]) == 12
    assert len({tuple(ids) for ids in found.values()}) > 1
    assert dict(engine.texts(prompts, 12, [])) == whole

    model: Any = AutoModelForCausalLM.from_pretrained(random_checkpoint.path, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([prompts[3][1] + found[3]])).logits[0]
    assert logits[-13:-1].argmax(-1).tolist() == found[3]

    end = found[3][4]
    for number, text in engine.texts(prompts, 12, [end]):
        ids = found[number]
        assert isinstance(text, Text)
        assert text.ids == (ids[: ids.index(end) + 1] if end in ids else ids)

    refused = dict(engine.texts([("empty", []), ("good", prompts[0][1])], 12, []))
    assert isinstance(refused["empty"], Refusal)
    assert refused["good"] == Text(found[0], 0)


@pytest.mark.slow
def test_a_student_learns_what_a_real_engine_wrote(
    warehouse: Path, random_checkpoint: Checkpoint, engine: Engine, tokens: Tokens
) -> None:
    start = running(engine)
    counts = teach(DS, random_checkpoint, settings_for(warehouse), reason_tokens=24, start=start)
    rows = reasons(warehouse)
    assert counts["reasons"] == len(rows) > 0
    assert counts["plays"] == 6 == sum(counts[fate] for fate in ("reasons", "empty", "refused", "too_long"))
    teach(DS, random_checkpoint, settings_for(warehouse), reason_tokens=24, start=start)
    assert reasons(warehouse) == rows

    source = open_source(str(warehouse), DS, [POST_TRAINING_EXAMPLES, TEACHER_REASONS])
    # A random model writes gibberish, which may have more tokens when it is encoded again.
    recipe = Reasoning(teacher=random_checkpoint.version, reason_tokens=200)
    learned = reasoning.training_rows(Stage("reasoning", random_checkpoint, warehouse, recipe, source), recipe)
    expected = {
        (*tokens.ids(row["reason"] + "\nAnswer: "), tokens.labels[of["shown"] - 1])
        for row in rows
        for of in source.rows(POST_TRAINING_EXAMPLES, ["shown"], pc.field("user_id") == row["user_id"])
    }
    assert {tuple(label for label in row["labels"] if label != IGNORED) for row in learned.rows} == expected


def test_a_reason_is_asked_for_when_somebody_wants_it_and_once(
    tmp_path: Path, random_checkpoint: Checkpoint, tokens: Tokens
) -> None:
    writer = WritingEngine(tokens, " of war.\nMore", None)
    reasons = Reasons(random_checkpoint, settings_for(tmp_path), running(writer))
    play = example(1, options=2)
    found = {
        "artwork_id": "b",
        "question": {"context": play["context"], "choice": play["choice"], "artwork_ids": ["a", "b"]},
    }
    assert reason_for(found, reasons) == reason_for(found, reasons) == "Because of war."
    (asked,) = writer.prompts
    assert "Answer: 2\n" in asked
    with pytest.raises(ContractError, match="no question is kept"):
        reason_for({**found, "question": None}, reasons)
    with pytest.raises(ContractError, match="MARQUEE_TEACHER names no model"):
        reason_for(found, Reasons.of(settings_for(tmp_path)))


def test_a_page_marks_a_reason_as_the_teachers_own_words(
    tmp_path: Path, random_checkpoint: Checkpoint, tokens: Tokens
) -> None:
    config = settings_for(make_warehouse(tmp_path))
    asks = "for a reason in words"
    for engine, status, expected in (
        (WritingEngine(tokens, " of <war>.\n"), 200, f"In the own words of {random_checkpoint.version}, asked after"),
        (WritingEngine(tokens, None), 404, "wrote no reason"),
    ):
        reasons = Reasons(random_checkpoint, config, running(engine))
        client = TestClient(application(config, None, reasons), "http://127.0.0.1")
        assert asks in client.get("/pair?user=42&title=7").text
        answer = client.get("/reason?user=42&title=7")
        assert answer.status_code == status
        assert expected in page_text(answer.text)
        assert "<war>" not in answer.text
    without = TestClient(application(config), "http://127.0.0.1")
    assert asks not in without.get("/pair?user=42&title=7").text
    assert without.get("/reason?user=42&title=7").status_code == 404
