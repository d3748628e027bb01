"""Why a user sees an artwork: `marquee explain`, and the draw in Python against the one in Spark."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.exit_codes import REFUSED
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    BUCKETS_PROPERTY,
    CATALOGUE_NAMES,
    NIGHT_MODELS,
    TITLE_CHOICES,
    TITLE_DEFAULTS,
    USER_CONTEXTS,
    WANTED_PAIRS,
)
from serving.draw import cumulative, point
from serving.explain import explanation
from spark_jobs.policy import drawn
from tests.conftest import RunMarquee
from tests.test_serving import BUCKETS, artwork, selection, write

RANKING = "array<struct<artwork_id: string, probability: double, propensity: double>>"
SCORED, DRAWN = date(2026, 1, 12), date(2026, 1, 14)


def options(*probabilities: float) -> list[dict[str, Any]]:
    """A ranking of a1, a2, … with equal propensities."""
    share = 1 / len(probabilities)
    ranking = [
        {"artwork_id": f"a{number}", "probability": probability, "propensity": share}
        for number, probability in enumerate(probabilities, start=1)
    ]
    return sorted(ranking, key=lambda option: -option["probability"])


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """A pair that was scored two nights before it was drawn, by a user with quotes in the id; three that were removed:
    title 8, whose artwork ended, title 70, which no night wanted, and title 6, by a night that is no longer kept; and
    one of the exploring slice.
    """
    made = tmp_path / "warehouse"
    user = selection("o'x", "7", "a3") | {"ranking": options(0.3, 0.5, 0.2), "probability": 0.2, "propensity": 1 / 3}
    user |= {"prompt_hash": -5, "ds": DRAWN}
    earlier = user | {"ds": SCORED, "artwork_id": "a2"}
    gone: dict[str, Any] = {"artwork_id": None, "ranking": [], "source": "removed", "ds": DRAWN}
    chosen = [selection("o'x", title, artwork) | {"ds": SCORED} for title, artwork in (("8", "a9"), ("70", "a1"))]
    removed = [row | gone for row in chosen]
    removed += [selection("o'x", "6", "a1") | gone | {"ds": DRAWN + timedelta(days=1)}]
    unscored = {"source": "uniform", "model_version": None, "prompt_hash": None}
    exploring = selection("1", "7", "a1") | {"ranking": options(0.5, 0.5), **unscored}
    write(made, ARTWORK_SELECTIONS, [user, exploring], **{BUCKETS_PROPERTY: str(BUCKETS)})
    write(made, ARTWORK_SELECTION_LOG, [earlier, user, *chosen, *removed, exploring])
    write(made, TITLE_DEFAULTS, [{"title_id": "9", "artwork_id": "a90"}])
    captions = [artwork(each, f"[red] caption of {each}") for each in ("a1", "a2", "a3")]
    write(made, CATALOGUE_NAMES, [{"title_id": "7", "name": "Heat", "release_year": 1995, "captions": captions}])
    night = {"ds": SCORED, "model_version": "tiny-1", "checkpoint": str(tmp_path / "model"), "why": "the champion"}
    write(made, NIGHT_MODELS, [night])
    asked = {"ds": SCORED, "bucket": user["bucket"], "user_id": "o'x"}
    pairs = [{"title_id": "7", "ordering": 1, "prompt_hash": -5}]
    write(made, USER_CONTEXTS, [{**asked, "context": "Watched.\n", "pairs": pairs}])
    choice = {"ds": SCORED, "title_id": "7", "ordering": 1, "artwork_ids": ["a3", "a1", "a2"], "choice": "Title: Heat"}
    other = choice | {"ordering": 0, "choice": "another sequence"}
    later = choice | {"ds": DRAWN, "title_id": "70", "ordering": 0, "choice_hash": 3}
    write(made, TITLE_CHOICES, [choice | {"choice_hash": 1}, other | {"choice_hash": 2}, later])
    wanted = {"bucket": user["bucket"], "user_id": "o'x", "title_ids": ["7", "70"]}
    write(made, WANTED_PAIRS, [{**wanted, "ds": SCORED - timedelta(days=day)} for day in (9, 8)])
    scores = {"title_id": "7", "artwork_ids": ["a3", "a1", "a2"], "probabilities": [0.2, 0.3, 0.5]}
    write(made, ARTWORK_SCORES, [{**asked, **scores, "model_version": "tiny-1", "prompt_hash": -5}])
    return made


def test_a_choice_is_traced_to_the_question_of_the_night_that_asked(warehouse: Path) -> None:
    found = explanation(Settings(warehouse=str(warehouse)), "o'x", "7")
    question = {"context": "Watched.\n", "choice": "Title: Heat", "artwork_ids": ["a3", "a1", "a2"]}
    assert found["question"] == question
    assert (found["chosen_by_night"], found["scored_by_night"], found["explored"]) == (DRAWN, SCORED, True)
    assert [(each["artwork_id"], each["number"], each["probability"]) for each in found["options"]] == [
        ("a2", 3, 0.5),
        ("a1", 2, 0.3),
        ("a3", 1, 0.2),
    ]
    assert [(row["ds"], row["artwork_id"]) for row in found["history"]] == [(DRAWN, "a3"), (SCORED, "a2")]


def test_an_earlier_night_is_explained_by_what_was_chosen_then(warehouse: Path) -> None:
    found = explanation(Settings(warehouse=str(warehouse)), "o'x", "7", DRAWN - timedelta(days=1))
    assert (found["artwork_id"], found["chosen_by_night"], found["explored"]) == ("a2", SCORED, False)


def test_a_question_that_is_no_longer_kept_is_said_to_be_unknown(
    warehouse: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in (USER_CONTEXTS, ARTWORK_SCORES):
        (warehouse / row.name).rename(warehouse / f"no {row.name}")
    assert marquee("explain", "--user", "o'x", "--title", "7", "--warehouse", str(warehouse)) == 0
    printed = capsys.readouterr().out
    assert "Scored by tiny-1.\n" in printed
    assert "its question is unknown" in printed
    # A caption is no markup.
    assert "[red] caption of a2" in printed


def test_json_has_everything_and_the_labels_prior(
    warehouse: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    model = warehouse.parent / "model"
    model.mkdir()
    (model / "marquee.json").write_text('{"name": "m", "version": "m@0123456789ab", "files": {}}')
    (model / "label_prior.json").write_text('{"prior": {"3": [0.25, 0, -0.25]}}')
    arguments = ["--user", "o'x", "--title", "7", "--warehouse", str(warehouse)]
    assert marquee("explain", *arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["prior"], found["verdict"], found["model_chosen_as"]) == ([0.25, 0, -0.25], None, "the champion")
    assert found["draw"]["cumulative"][-1]["artwork_id"] == "a3"
    assert marquee("explain", *arguments) == 0
    assert "+0.250" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["8"],
            "user o'x has no choice for title 8: the night of 2026-01-14 removed it, as no artwork of it was active",
        ),
        (
            ["70"],
            "user o'x has no choice for title 70: the night of 2026-01-14 ended it, as no night after that of "
            "2026-01-04 wanted the pair (MARQUEE_SELECTION_DAYS)",
        ),
        (["6"], "user o'x has no choice for title 6: the night of 2026-01-15 removed it"),
        (["9"], "user o'x has no choice for title 9; its default is shown: a90"),
        (["10"], "user o'x has no choice for title 10; it has no default either"),
        (["7", "--ds", "2026-01-01"], "user o'x has no choice for title 7 after the night of 2026-01-01"),
    ],
)
def test_a_pair_without_a_choice_is_one_sentence(
    warehouse: Path,
    marquee: RunMarquee,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    given = ["--user", "o'x", "--warehouse", str(warehouse), "--title", *arguments]
    assert marquee("explain", *given) == REFUSED
    assert capsys.readouterr().err == f"marquee explain: {sentence}\n"


def test_an_exploring_user_was_asked_of_no_model(
    warehouse: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    assert marquee("explain", "--user", "1", "--title", "7", "--warehouse", str(warehouse)) == 0
    assert "The user is in the exploring slice" in capsys.readouterr().out


def test_the_draw_is_that_of_spark(spark: SparkSession) -> None:
    settings = Settings(salt="a salt", epoch_days=3)
    ranking = [
        {"artwork_id": each, "probability": 0.25, "propensity": share}
        for each, share in (("ä", 0.1), ("z", 0.2), ("Z", 0.4), ("🐕", 0.3))
    ]
    pairs = [(user, f"t{number}") for number in range(40) for user in ("", "42", "o'x", "café", "🐕‍🦺")]
    frame = spark.createDataFrame([(*pair, ranking) for pair in pairs], f"u string, t string, d {RANKING}")
    for day in (date(1969, 12, 30), date(2026, 1, 14)):
        chosen = drawn(F.col("d"), F.col("u"), F.col("t"), day, settings)["artwork_id"]
        rows = frame.select("u", "t", chosen.alias("chosen")).collect()
        by_spark = {(row["u"], row["t"]): row["chosen"] for row in rows}
        ends = cumulative(ranking)
        by_python = {
            pair: next(artwork for artwork, end in ends if end > point(*pair, day, settings)) for pair in pairs
        }
        assert by_python == by_spark
        assert len(set(by_python.values())) == 4
