"""The sample services: their content, and that they depend on their seed only."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from examples.catalogue import make_artworks, make_title
from examples.impressions import EXPLORE, epoch_of, logging_policy
from examples.movielens import movielens_service
from examples.paper_table import Sample
from examples.sample import fill_once
from examples.service import Impression, Service, input_tables, write_service
from examples.simulated import LAST_DAY, simulated_service
from examples.truth import play_probability, read_truth, taste_from_shares, truth_of
from examples.vocabulary import STYLES, THEME_NAMES, THEMES, TONES, caption
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.settings import Settings
from schemas.store import create, last_day, open_table
from schemas.tables import MAX_ARTWORKS, VIEWING_HISTORY
from tests.conftest import RunMarquee

USERS, TITLES, DAYS = 12, 30, 5


@pytest.fixture(scope="module")
def service() -> Service:
    return simulated_service(USERS, TITLES, DAYS, seed=3)


@pytest.fixture
def movielens_folder(tmp_path: Path) -> Path:
    """Three films and two people, in MovieLens 100K's form."""
    folder = tmp_path / "ml"
    folder.mkdir()
    genres = ["unknown", *(theme.title() for theme in THEME_NAMES)]
    flags = {"1": "Comedy", "2": "War", "3": "unknown"}
    names = {"1": "Café Idyll (1995)", "2": "Field, The (1990)", "3": "unknown"}
    items = [
        "|".join([film, names[film], "", "", "", *(str(int(genre == flags[film])) for genre in genres)])
        for film in flags
    ]
    (folder / "u.genre").write_text(
        "".join(f"{genre}|{place}\n" for place, genre in enumerate(genres)) + "\n", "latin-1"
    )
    (folder / "u.item").write_text("\n".join(items) + "\n", "latin-1")
    (folder / "u.data").write_text("7\t1\t5\t893286638\n7\t2\t1\t893200000\n9\t3\t4\t892000000\n", "latin-1")
    return folder


def test_the_same_seed_gives_the_same_tables(service: Service) -> None:
    again = simulated_service(USERS, TITLES, DAYS, seed=3)
    assert [table for _, table in input_tables(again)] == [table for _, table in input_tables(service)]


def test_another_seed_gives_another_service(service: Service) -> None:
    assert simulated_service(USERS, TITLES, DAYS, seed=4).viewings != service.viewings


def test_a_user_does_not_depend_on_how_many_others_there_are(service: Service) -> None:
    more = simulated_service(USERS + 5, TITLES, DAYS, seed=3)
    assert [viewing for viewing in more.viewings if viewing.user_id == "2"] == [
        viewing for viewing in service.viewings if viewing.user_id == "2"
    ]
    assert [each for each in more.impressions if each.user_id == "2"] == [
        each for each in service.impressions if each.user_id == "2"
    ]


def test_every_day_has_viewings_and_none_comes_later(service: Service) -> None:
    days = {viewing.watched_at.date() for viewing in service.viewings}
    assert len(days) == DAYS
    assert max(days) == LAST_DAY


def test_titles_have_1_to_40_artworks_and_an_active_default() -> None:
    titles = [make_title(1, str(number)) for number in range(300)]
    artworks = {title.title_id: make_artworks(1, title, date(2026, 1, 1), LAST_DAY) for title in titles}
    counts = [len(each) for each in artworks.values()]
    assert min(counts) == 1
    assert 30 < max(counts) <= MAX_ARTWORKS
    assert np.mean([4 <= count <= 12 for count in counts]) > 0.7
    assert all(each[0].is_default and each[0].active_on(LAST_DAY) for each in artworks.values())
    assert any(not art.active_on(LAST_DAY) for each in artworks.values() for art in each)


@pytest.mark.parametrize("theme", THEME_NAMES)
def test_captions_express_a_theme_in_many_ways_without_naming_it(theme: str) -> None:
    rng = np.random.default_rng(0)
    captions = {caption((theme,), "calm", "portrait", rng) for _ in range(500)}
    assert len(captions) > 250
    assert not any(theme in text.lower() for text in captions)
    assert max(map(len, captions)) <= 140


def test_no_phrase_expresses_two_themes() -> None:
    phrases = [phrase for theme in THEMES.values() for phrase in theme.subjects + theme.settings]
    assert len(phrases) == len(set(phrases))
    assert all(len(theme.subjects) >= 12 for theme in THEMES.values())


def test_every_word_of_a_caption_is_of_one_line() -> None:
    phrases = [*(p for style in STYLES.values() for p in style.phrases), *(p for tone in TONES.values() for p in tone)]
    assert all(phrase == " ".join(phrase.split()) for phrase in phrases)


def test_impressions_are_of_active_artworks_on_the_last_days(service: Service) -> None:
    active = {art.artwork_id: art for art in service.artworks}
    for each in service.impressions:
        day = each.shown_at.date()
        assert each.artwork_id in each.eligible_artwork_ids
        assert all(active[artwork_id].active_on(day) for artwork_id in each.eligible_artwork_ids)
        assert each.played == (each.play_seconds > 0)
    assert max(each.shown_at.date() for each in service.impressions) == LAST_DAY


def by_pair(impressions: list[Impression]) -> list[list[Impression]]:
    found: dict[tuple[str, str], list[Impression]] = defaultdict(list)
    for each in impressions:
        found[each.user_id, each.title_id].append(each)
    return list(found.values())


def test_only_what_was_not_played_is_shown_again_on_a_later_day() -> None:
    pairs = by_pair(simulated_service(40, 60, 14, seed=5).impressions)
    again = [pair for pair in pairs if len(pair) > 1]
    assert 0.05 < len(again) / len(pairs) < 0.25
    for first, second in again:
        assert not first.played
        assert second.shown_at.date() > first.shown_at.date()


def test_a_draw_holds_for_its_epoch_and_the_next_epoch_draws_anew() -> None:
    configured = Settings()
    again = [pair for pair in by_pair(simulated_service(80, 60, 14, seed=5).impressions) if len(pair) > 1]
    same_epoch: list[bool] = []
    later_epoch: list[bool] = []
    for first, second in again:
        epochs = {epoch_of(each.user_id, each.shown_at.date(), configured) for each in (first, second)}
        if first.eligible_artwork_ids == second.eligible_artwork_ids and len(first.eligible_artwork_ids) > 1:
            kept = (first.artwork_id, first.propensity) == (second.artwork_id, second.propensity)
            (same_epoch if len(epochs) == 1 else later_epoch).append(kept)
    assert len(same_epoch) > 100 < len(later_epoch)
    assert all(same_epoch)
    assert np.mean(later_epoch) < 0.6


def test_propensities_are_those_of_the_logging_policy() -> None:
    policy = logging_policy(np.array([0.0, 1.0, -1.0]))
    assert policy.sum() == pytest.approx(1)
    assert policy.min() >= EXPLORE / 3
    assert list(np.argsort(policy)) == [2, 0, 1]


def test_inverse_propensities_recover_the_value_of_uniform_choices() -> None:
    service = simulated_service(120, 60, 14, seed=5)
    truth = truth_of(service.tastes, service.artworks)
    # First impressions of a title only: one shown again by the same draw was not played before, so it is not random.
    rows = [pair[0] for pair in by_pair(service.impressions)]
    weights = np.array([1 / len(row.eligible_artwork_ids) / row.propensity for row in rows])
    values = np.array([truth.play_probabilities(row.user_id, row.eligible_artwork_ids).mean() for row in rows])
    difference = weights * np.array([row.played for row in rows]) - values
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(rows))
    assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(rows))


def test_a_taste_is_centred_scaled_and_sorted_by_share() -> None:
    shares = np.array([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    tastes = taste_from_shares(shares)
    assert tastes.mean(axis=1) == pytest.approx(0)
    assert tastes[0].std() == pytest.approx(1)
    assert list(np.argsort(-tastes[0])) == [0, 1, 2]
    assert tastes[1] == pytest.approx(0)


def test_each_cause_of_a_play_raises_its_probability() -> None:
    causes = np.eye(3)
    base = play_probability(*np.zeros(3))
    assert all(play_probability(*cause) > base for cause in causes)


def test_movielens_keeps_real_names_years_and_ratings(movielens_folder: Path) -> None:
    service = movielens_service(movielens_folder, seed=1)
    assert [(title.name, title.release_year, title.genres) for title in service.titles] == [
        ("Café Idyll", 1995, ("comedy",)),
        ("Field, The", 1990, ("war",)),
        ("unknown", None, ()),
    ]
    assert [viewing.completion for viewing in service.viewings] == [1.0, 0.2, 0.8]
    assert np.argmax(service.tastes["7"]) == THEME_NAMES.index("comedy")


def test_a_movielens_folder_without_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"lacks u\.item, u\.genre, u\.data"):
        movielens_service(tmp_path, seed=1)


def test_a_written_service_is_read_back_and_not_written_over(service: Service, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    rows = write_service(service, warehouse)
    assert rows["titles"] == TITLES
    assert last_day(str(warehouse)) == LAST_DAY
    written, made = read_truth(warehouse), truth_of(service.tastes, service.artworks)
    ids = [art.artwork_id for art in service.artworks[:3]]
    assert written.play_probabilities("2", ids) == pytest.approx(made.play_probabilities("2", ids))
    with pytest.raises(ContractError, match="only written to a new warehouse"):
        write_service(service, warehouse)
    assert not list(tmp_path.glob("*.part"))


def test_the_command_fills_a_new_warehouse_alone(
    tmp_path: Path, marquee: RunMarquee, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = tmp_path / "warehouse"
    command = ["sample", "simulated", "--users", "3", "--titles", "8", "--days", "2", "--warehouse", str(warehouse)]
    assert marquee(*command) == 0
    printed = capsys.readouterr().out
    assert "titles                   8 rows" in printed
    assert f"last day {LAST_DAY}" in printed
    # Also a URI of an object store.
    assert last_day(str(warehouse)) == last_day(warehouse.as_uri()) == LAST_DAY
    assert marquee(*command) == REFUSED
    assert "give another --warehouse" in capsys.readouterr().err


def test_a_night_fills_a_warehouse_once_and_never_one_of_another_sample(tmp_path: Path) -> None:
    warehouse = str(tmp_path / "warehouse")
    fill_once(warehouse, "simulated", None, users=3)
    before = open_table(warehouse, VIEWING_HISTORY).count()
    fill_once(warehouse, "simulated", None, users=4)
    assert open_table(warehouse, VIEWING_HISTORY).count() == before
    with pytest.raises(ContractError, match="has the simulated service, not the movielens one"):
        fill_once(warehouse, "movielens", None)
    with pytest.raises(ContractError, match="give its folder"):
        fill_once(str(tmp_path / "new"), "movielens", None)


@pytest.mark.parametrize("made_for", [None, "movielens"])
def test_the_papers_table_is_not_made_of_another_sample(tmp_path: Path, made_for: str | None) -> None:
    create(str(tmp_path), VIEWING_HISTORY)
    if made_for is not None:
        (tmp_path / ".paper-table").write_text(f"{made_for}\n")
        (tmp_path / ".service").write_text(f"{made_for}\n")
    for place in (str(tmp_path), tmp_path.as_uri()):
        with pytest.raises(ContractError, match="that `marquee sample paper-table --service simulated` did not make"):
            Sample(place, "simulated", None, "[]").prepare()
