"""The value of a night's choices against a sample's truth, with scores made here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from examples.sample_value import POLICIES, Values, rule_scores, sample_values, shown_theme_counts, table, together
from examples.service import Service, write_service
from examples.simulated import LAST_DAY, simulated_service
from examples.truth import Truth, read_truth
from schemas.contract import ContractError, Table
from schemas.settings import Settings
from schemas.tables import ARTWORK_SCORES, TITLE_DEFAULTS

Scorer = Callable[[Truth, str, list[str]], np.ndarray]


@pytest.fixture(scope="module")
def service() -> Service:
    return simulated_service(users=60, titles=40, days=14, seed=8)


@pytest.fixture
def warehouse(service: Service, tmp_path: Path) -> Path:
    write_service(service, tmp_path / "warehouse")
    return tmp_path / "warehouse"


def perfect(truth: Truth, user_id: str, artwork_ids: list[str]) -> np.ndarray:
    return truth.play_probabilities(user_id, artwork_ids)


def undecided(_truth: Truth, _user_id: str, artwork_ids: list[str]) -> np.ndarray:
    return np.ones(len(artwork_ids))


def write_scores(warehouse: Path, service: Service, scorer: Scorer) -> None:
    truth = read_truth(warehouse)
    active: dict[str, list[str]] = {}
    for art in service.artworks:
        if art.active_on(LAST_DAY):
            active.setdefault(art.title_id, []).append(art.artwork_id)
    rows = [
        {
            "ds": LAST_DAY,
            "bucket": 0,
            "user_id": user_id,
            "title_id": title_id,
            "artwork_ids": ids,
            "probabilities": list(scores / scores.sum()),
            "model_version": "made up",
            "prompt_hash": 0,
        }
        for user_id in service.tastes
        for title_id, ids in active.items()
        for scores in [scorer(truth, user_id, ids)]
    ]
    write(warehouse, ARTWORK_SCORES, rows)
    # The artwork that most users would play.
    users = list(service.tastes)
    liked = {title_id: sum(truth.play_probabilities(user, ids) for user in users) for title_id, ids in active.items()}
    best = [
        {"title_id": title_id, "artwork_id": active[title_id][int(np.argmax(liked[title_id]))]} for title_id in active
    ]
    write(warehouse, TITLE_DEFAULTS, best)


def write(warehouse: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    content = pa.Table.from_pylist(rows, schema=table.arrow_schema())
    write_deltalake(str(warehouse / table.name), content, partition_by=list(table.partitioned_by) or None)


def test_a_perfect_model_has_the_oracles_value(warehouse: Path, service: Service) -> None:
    write_scores(warehouse, service, perfect)
    means = dict(zip(POLICIES, together(sample_values(warehouse, LAST_DAY, Settings()).values()).means(), strict=True))
    assert means["model"] == pytest.approx(means["oracle"])
    assert means["random"] < means["rule"] < means["oracle"]
    assert means["random"] < means["most_popular"] < means["oracle"]


def test_an_undecided_model_has_the_value_of_chance(warehouse: Path, service: Service) -> None:
    write_scores(warehouse, service, undecided)
    means = dict(zip(POLICIES, together(sample_values(warehouse, LAST_DAY, Settings()).values()).means(), strict=True))
    assert means["model"] == pytest.approx(means["random"])


def test_a_ds_without_scores_is_an_error(warehouse: Path, service: Service) -> None:
    write_scores(warehouse, service, undecided)
    with pytest.raises(ContractError, match="has no rows for 2026-01-02"):
        sample_values(warehouse, date(2026, 1, 2), Settings())


def test_a_warehouse_without_scores_is_an_error(warehouse: Path) -> None:
    with pytest.raises(ContractError, match="title_defaults: there is no Delta table at"):
        sample_values(warehouse, LAST_DAY, Settings())


def test_the_rule_counts_only_what_the_prompt_shows(warehouse: Path, service: Service) -> None:
    user_id = max(service.tastes, key=lambda each: sum(viewing.user_id == each for viewing in service.viewings))
    latest = sorted((v for v in service.viewings if v.user_id == user_id), key=lambda v: v.watched_at)[-2:]
    genres = {title.title_id: title.genres for title in service.titles}
    expected: dict[str, float] = {}
    for viewing in latest:
        for genre in genres[viewing.title_id]:
            expected[genre] = expected.get(genre, 0) + viewing.completion
    assert shown_theme_counts(warehouse, LAST_DAY, Settings(history_titles=2))[user_id] == pytest.approx(expected)


def test_the_rule_looks_back_as_many_days_as_a_night(warehouse: Path, service: Service) -> None:
    first = min(viewing.watched_at for viewing in service.viewings).date()
    of_that_day = {viewing.user_id for viewing in service.viewings if viewing.watched_at.date() == first}
    ds = first + timedelta(days=3)
    everything = shown_theme_counts(warehouse, ds, Settings(history_titles=1000))
    assert shown_theme_counts(warehouse, ds, Settings(history_titles=1000, history_days=3)) == everything
    less = shown_theme_counts(warehouse, ds, Settings(history_titles=1000, history_days=2))
    assert {user for user in everything if less.get(user) != everything[user]} <= of_that_day
    assert less != everything


def test_the_rule_takes_the_mean_over_an_artworks_themes() -> None:
    scores = rule_scores({"war": 3.0, "drama": 1.0}, [["war"], ["war", "drama"], ["comedy"], []])
    assert list(scores) == [3.0, 2.0, 0.0, 0.0]


def test_standard_errors_are_by_user() -> None:
    repeated, single = Values(), Values()
    for user, value in (("a", 0.0), ("b", 1.0), ("c", 1.0), ("d", 0.0)):
        single.add(user, np.full(len(POLICIES), value))
        for _ in range(10):
            repeated.add(user, np.full(len(POLICIES), value))
    assert repeated.means() == pytest.approx(single.means())
    assert repeated.standard_errors() == pytest.approx(single.standard_errors())
    assert single.standard_errors() == pytest.approx(0.25)


def test_the_report_names_every_policy_and_size_and_how_far_they_go() -> None:
    few, many = Values(), Values()
    few.add("a", np.array([0.4, 0.5, 0.6, 0.55, 0.8]))
    many.add("a", np.array([0.2, 0.5, 0.6, 0.1, 0.8]))
    lines = table({(2, 3): few, (25, 40): many}).splitlines()
    assert [line.split()[0] for line in lines[1:6]] == list(POLICIES)
    assert lines[4].split()[1] == "0.3250"
    assert lines[4].split()[-2:] == ["8.3%", "5.0%"]
    assert [(line.split()[0], line.split()[-1]) for line in lines[-2:]] == [("2-3", "75.0%"), ("25-40", "-25.0%")]
