"""Ruined nights, which the audit refuses to publish, and the operator's way to publish a change that is meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.prompt import Choice, Option
from schemas.settings import Settings
from schemas.tables import ARTWORK_SCORES, ARTWORKS, AUDIT_RESULTS, NIGHT_CHANGES, NIGHT_MODELS, NIGHT_STEPS
from spark_jobs.audit import audit
from spark_jobs.changes import of_the_policy, texts_changed
from spark_jobs.policy import entropy
from spark_jobs.publish import publish
from tests.conftest import RunMarquee
from tests.night_data import DAY, SmallWarehouse, artwork, day, small_warehouse, title, viewing

USERS, TITLES, LETTERS = 120, 24, "abcdef"
EACH = [(f"u{user}", f"t{(user + step) % TITLES}") for user in range(USERS) for step in range(3)]
# One title that everybody is likely to see.
EACH += [(f"u{user}", "t0") for user in range(USERS) if (f"u{user}", "t0") not in EACH]

MEANS = {
    "mean propensity of the best artwork",
    "mean propensity of the worst artwork, times artworks",
    "mean entropy of the distributions",
}


def taste(user_id: str, artwork_ids: list[str]) -> list[float]:
    """Every user likes artworks in another way."""
    weights = [1 + crc32(f"{user_id} {artwork_id}".encode()) % 9 for artwork_id in artwork_ids]
    return [weight / sum(weights) for weight in weights]


def sharper(user_id: str, artwork_ids: list[str]) -> list[float]:
    weights = [share**4 for share in taste(user_id, artwork_ids)]
    return [weight / sum(weights) for weight in weights]


def one_rival(user_id: str, artwork_ids: list[str]) -> list[float]:
    """As `taste`, with the same policy for the best and the worst artwork; of the others, which share the rest, as few
    as possible have more than the worst.
    """
    squares = [share**2 for share in taste(user_id, artwork_ids)]
    best, *others, worst = sorted(range(len(squares)), key=lambda place: -squares[place])
    left = sum(squares[place] - squares[worst] for place in others)
    made = {best: squares[best], worst: squares[worst]}
    for place in others:
        more = min(left, 0.999 * (squares[best] - squares[worst]))
        made[place] = squares[worst] + more
        left -= more
    # The temperature of 0.5 squares probabilities.
    roots = [made[place] ** 0.5 for place in range(len(squares))]
    return [root / sum(roots) for root in roots]


def one_for_all(_: str, artwork_ids: list[str]) -> list[float]:
    return taste("everybody", artwork_ids)


def first_number(_: str, artwork_ids: list[str]) -> list[float]:
    return [0.8, *[0.2 / (len(artwork_ids) - 1)] * (len(artwork_ids) - 1)]


@pytest.fixture(scope="module")
def prepared(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallWarehouse:
    """A published night, and the next one up to scoring: everybody has watched something in between."""
    small = small_warehouse(spark, tmp_path_factory.mktemp("changes"), rejected_share_limit=0.6)
    small.titles = [title(f"t{number}") for number in range(TITLES)]
    small.artworks = [artwork(f"t{number}-{which}", f"t{number}") for number in range(TITLES) for which in LETTERS]
    small.history = [viewing(user, f"t{n % TITLES}", day(n % 2)) for n, (user, _) in enumerate(EACH)]
    small.wanted = [(day(offset), user, title_id, 1) for offset in (0, 1) for user, title_id in EACH]
    small.write_inputs()
    small.prepare()
    small.score(liking=taste)
    small.finish()
    small.prepare(day(1))
    return small


@pytest.fixture
def night(prepared: SmallWarehouse, tmp_path: Path) -> SmallWarehouse:
    copy = prepared.copied(tmp_path)
    return replace(copy, titles=prepared.titles, artworks=prepared.artworks, history=prepared.history)


def failed(night: SmallWarehouse) -> set[str]:
    """The checks that the audit of the second night fails."""
    with suppress(ContractError):
        audit(night.night(day(1)))
    rows = night.warehouse.read(AUDIT_RESULTS).where((F.col("ds") == F.lit(day(1))) & ~F.col("passed")).collect()
    return {row["check"] for row in rows}


def test_a_usual_night_passes_and_counts_what_publishing_would_do(
    night: SmallWarehouse, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    night.score(day(1), liking=taste)
    assert failed(night) == set()
    planned = night.night(day(1)).rows(NIGHT_CHANGES, "sum(added) AS added, sum(changed) AS changed, sum(removed) AS x")
    publish(night.night(day(1)))
    (step,) = night.night(day(1)).rows(NIGHT_STEPS, "counts", "AND step = 'publish'")
    done = dict(step["counts"])
    assert planned == [{"added": done["inserted"], "changed": done["updated"], "x": done["deleted"]}]
    assert done["updated"] > 0
    assert marquee("summary", "--ds", str(day(1)), "--warehouse", night.settings.warehouse) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"\bmodel +0 +{done['updated']} +0 +{done['unchanged']} +0\.[5-9]\d\d\n", printed)
    assert f"of {USERS} users change" in printed


def test_entropy_is_1_for_a_uniform_choice_and_0_for_a_certain_one(spark: SparkSession) -> None:
    shares = {(0.25,) * 4: 1.0, (1.0, 0.0): 0.0, (0.5, 0.5, 0.0): 0.6309, (1.0,): None, (): None}
    frame = spark.createDataFrame(
        [([("a", share) for share in each],) for each in shares],
        "d array<struct<artwork_id: string, propensity: double>>",
    )
    found = [row["entropy"] for row in frame.select(entropy(F.col("d")).alias("entropy")).collect()]
    assert found == [value if value is None else pytest.approx(value, abs=1e-4) for value in shares.values()]


@pytest.mark.parametrize(
    ("liking", "check"),
    [
        (first_number, "share of pairs that one option number wins beyond chance"),
        (one_for_all, "share of pairs with their title's commonest best artwork"),
    ],
)
def test_a_model_that_answers_one_number_or_the_same_to_all_is_refused(
    night: SmallWarehouse, liking: Callable[[str, list[str]], list[float]], check: str
) -> None:
    night.score(day(1), liking=liking)
    assert check in failed(night)


@pytest.mark.parametrize("setting", [{"epsilon": 0.9}, {"epsilon": 0.01}, {"temperature": 5.0}])
def test_another_way_to_explore_is_refused(night: SmallWarehouse, setting: dict[str, float]) -> None:
    night.score(day(1), liking=taste)
    night.settings = night.settings.model_copy(update=setting)
    # A tenth of a small ε moves no mean.
    assert failed(night) - MEANS == set(setting)


def test_another_model_may_be_surer_of_its_answers(night: SmallWarehouse) -> None:
    night.score(day(1), liking=sharper)
    assert failed(night) == MEANS
    (noted,) = night.night(day(1)).rows(NIGHT_MODELS)
    night.night(day(1)).replace_rows(NIGHT_MODELS, [{**noted, "model_version": "promoted@1"}])
    assert failed(night) == set()


def test_an_entropy_alone_that_moves_is_refused(night: SmallWarehouse) -> None:
    night.score(day(1), liking=one_rival)
    night.settings = night.settings.model_copy(update={"policy_limit": 0.05})
    assert failed(night) == {"mean entropy of the distributions"}


def test_pairs_removed_alone_are_refused(night: SmallWarehouse) -> None:
    """A quarter of the titles has ended, with the one that everybody is likely to see: fewer than may end."""
    night.artworks = [each for each in night.artworks if int(each[1][1:]) >= TITLES // 4]
    night.write(ARTWORKS, night.artworks)
    night.prepare(day(1))
    night.score(day(1), liking=taste)
    assert failed(night) == {"share of pairs removed"}


@pytest.mark.parametrize(("name", "usual"), [("epsilon", 0.05), ("temperature", 0.5)])
@pytest.mark.parametrize(("times", "passes"), [(0.1, False), (0.75, True), (1, True), (1.25, True), (10, False)])
def test_a_policy_of_other_numbers_is_refused(name: str, usual: float, times: float, passes: bool) -> None:
    settings = Settings().model_copy(update={name: usual * times})
    check = of_the_policy(settings, {name: [usual, usual * 100]})[name]
    assert (check.passed, check.expected) == (passes, usual)
    # Before the first published night there is nothing to differ from.
    assert of_the_policy(settings, {})[name].passed


def test_a_policy_that_starts_or_stops_to_explore_is_refused() -> None:
    assert not of_the_policy(Settings(epsilon=0), {"epsilon": [0.05]})["epsilon"].passed
    assert not of_the_policy(Settings(epsilon=0.001), {"epsilon": [0.0]})["epsilon"].passed
    assert of_the_policy(Settings(epsilon=0), {"epsilon": [0.0]})["epsilon"].passed


def test_yesterdays_scores_under_todays_date_are_refused(night: SmallWarehouse) -> None:
    yesterday = night.warehouse.read(ARTWORK_SCORES).where(F.col("ds") == F.lit(DAY)).localCheckpoint()
    night.night(day(1)).replace(ARTWORK_SCORES, yesterday.withColumn("ds", F.lit(day(1))))
    assert failed(night) == {"pairs neither scored nor rejected", "scores that nobody asked for"}


def test_missing_users_and_titles_swapped_captions_and_random_choices_are_refused(night: SmallWarehouse) -> None:
    """Half of the users and of the catalogue, each title with the captions of another, and everybody explores."""
    left, each = night.artworks[: TITLES // 2 * len(LETTERS)], len(LETTERS)
    others = left[each:] + left[:each]
    night.artworks = [(*one[:2], other[2], *one[3:]) for one, other in zip(left, others, strict=True)]
    night.wanted = [(day(1), user, title_id, 1) for user, title_id in EACH[: len(EACH) // 2]]
    night.settings = night.settings.model_copy(update={"uniform_share": 1.0})
    night.write_inputs()
    night.prepare(day(1))
    night.score(day(1))
    assert failed(night) == {
        "users with wanted pairs",
        "titles with artworks",
        "share of titles whose text changed",
        "share of wanted pairs chosen at random",
        "share of pairs removed",
    }


def test_a_play_rate_that_moves_changes_no_text_and_a_caption_and_an_artwork_do(spark: SparkSession) -> None:
    def choices(*options: Option, ids: str = "ab") -> DataFrame:
        row = ("t1", 0, list(ids), Choice("Alien (1979): horror", options, "In space").text)
        return spark.createDataFrame([row], "title_id string, ordering int, artwork_ids array<string>, choice string")

    before = choices(Option("an egg", "played often"), Option("a cat"))

    def changed(tonight: DataFrame) -> int:
        row = texts_changed(tonight, before).collect()[0]
        assert (row["titles"], row["known"]) == (1, 1)
        return int(row["changed"])

    assert changed(choices(Option("an egg", "played seldom"), Option("a cat", "played as most"))) == 0
    assert changed(choices(Option("an egg", "played often"), Option("a dog"))) == 1
    assert changed(choices(Option("an egg", "played often"), Option("a cat"), ids="ac")) == 1


def test_a_change_that_is_meant_is_published_after_it_was_accepted(
    night: SmallWarehouse, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["accept", "--ds", str(day(1)), "--reason", "we explore more", "--warehouse", night.settings.warehouse]
    assert marquee(*given) == REFUSED
    assert f"the night of {day(1)} has not been audited" in capsys.readouterr().err
    night.score(day(1), liking=taste)
    night.settings = night.settings.model_copy(update={"epsilon": 0.9})
    refused = failed(night)
    with pytest.raises(ContractError, match=rf"expected .*, at most 0.1 apart.*marquee accept --ds {day(1)} --reason"):
        audit(night.night(day(1)))
    assert marquee(*given) == 0
    assert f"marquee step audit --ds {day(1)}" in capsys.readouterr().out
    assert failed(night) == set()
    kept = night.warehouse.read(AUDIT_RESULTS).where("accepted = 'we explore more'").collect()
    assert {row["check"] for row in kept} == refused
    # Another value is another change.
    night.settings = night.settings.model_copy(update={"epsilon": 0.95})
    assert failed(night) == refused


def test_wrong_scores_cannot_be_accepted(
    night: SmallWarehouse, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    night.score(day(1), liking=lambda _, ids: [1.0] * len(ids))
    assert failed(night) == {"scores that are no probabilities"}
    given = ["--ds", str(day(1)), "--reason", "so what", "--warehouse", night.settings.warehouse]
    assert marquee("accept", *given) == REFUSED
    assert "failed scores that are no probabilities: its scores are wrong" in capsys.readouterr().err
