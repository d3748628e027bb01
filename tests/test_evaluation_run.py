"""A whole evaluation of a sample service, its table and its page; the models are made up from the truth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from evaluation.estimators import PROMISED
from evaluation.evaluate import Evaluation, _model_and_warehouse, evaluate
from evaluation.gate import verdict
from evaluation.models import Beside, model_scores
from evaluation.page import Page, refusals, render
from evaluation.plots import Span, curves, spans
from evaluation.report import read_page, write_report
from examples.service import Service, write_service
from examples.simulated import LAST_DAY, simulated_service
from examples.true_values import true_play_of
from examples.truth import Truth, read_truth
from inference.rotations import averaged
from schemas.contract import ContractError, Table
from schemas.settings import Settings
from schemas.tables import HELD_OUT_SCORES, POST_TRAINING_EXAMPLES
from spark_jobs.warehouse import Warehouse
from tests.inference_data import DS
from tests.page_text import page_text
from tests.training_data import example
from training.judge import estimates_of

Scorer = Callable[[Truth, str, list[str]], np.ndarray]

GOOD, BAD = "good@1", "bad@1"


def by_truth(truth: Truth, user_id: str, artwork_ids: list[str]) -> np.ndarray:
    return truth.play_probabilities(user_id, artwork_ids)


def against_truth(truth: Truth, user_id: str, artwork_ids: list[str]) -> np.ndarray:
    return 1 - truth.play_probabilities(user_id, artwork_ids)


def example_rows(service: Service) -> list[dict[str, Any]]:
    """An example for each impression with a choice; every third user is held out. Options by id, backwards."""
    genres = {title.title_id: [genre.lower() for genre in title.genres] for title in service.titles}
    watched: dict[str, list[list[str]]] = {}
    for each in service.viewings:
        watched.setdefault(each.user_id, []).append(genres[each.title_id])
    rows = []
    for shown in service.impressions:
        if len(shown.eligible_artwork_ids) < 2:
            continue
        ids = sorted(shown.eligible_artwork_ids, reverse=True)
        history = watched.get(shown.user_id, [])
        rows.append(
            {
                "ds": LAST_DAY,
                "split": "held_out" if int(shown.user_id) % 3 == 0 else "training",
                "user_id": shown.user_id,
                "title_id": shown.title_id,
                "shown_at": shown.shown_at,
                "context_key": shown.user_id,
                "context": "",
                "choice_key": shown.title_id + "@" + str(len(ids)),
                "choice": "",
                "artwork_ids": ids,
                "shown": ids.index(shown.artwork_id) + 1,
                "propensity": shown.propensity,
                "played": shown.played,
                "play_seconds": shown.play_seconds,
                "history_titles": len(history),
                "themes": [],
                "watched_genres": history[:20],
                "signals": [],
            }
        )
    return rows


def score_rows(rows: list[dict[str, Any]], truth: Truth, model: str, scorer: Scorer) -> list[dict[str, Any]]:
    """A model's scores of the held-out questions, each once, asked by id forwards."""
    asked = {(row["context_key"], row["choice_key"]): row for row in rows if row["split"] == "held_out"}
    scored = []
    for (context, choice), row in asked.items():
        ids = sorted(row["artwork_ids"])
        scores = scorer(truth, row["user_id"], ids)
        scored.append(
            {
                "ds": LAST_DAY,
                "bucket": 0,
                "context_key": context,
                "choice_key": choice,
                "artwork_ids": ids,
                "probabilities": list(scores / scores.sum()),
                "model_version": model,
                "prompt_hash": 0,
            }
        )
    return scored


def write(folder: Path, table: Table, rows: list[dict[str, Any]]) -> None:
    content = pa.Table.from_pylist(rows, schema=table.arrow_schema())
    write_deltalake(str(folder / table.name), content, partition_by=list(table.partitioned_by))


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("evaluation") / "warehouse"
    service = simulated_service(users=105, titles=36, days=14, seed=4)
    write_service(service, folder)
    rows, truth = example_rows(service), read_truth(folder)
    write(folder, POST_TRAINING_EXAMPLES, rows)
    by_model = {GOOD: by_truth, BAD: against_truth, averaged(GOOD, 4): by_truth}
    scored = [score_rows(rows, truth, model, scorer) for model, scorer in by_model.items()]
    write(folder, HELD_OUT_SCORES, list(chain.from_iterable(scored)))
    # The same impressions in prompts of their own.
    elsewhere = [{**row, "choice_key": row["choice_key"] + "@plain"} for row in rows]
    write(folder / "plain", POST_TRAINING_EXAMPLES, elsewhere)
    write(folder / "plain", HELD_OUT_SCORES, score_rows(elsewhere, truth, BAD, against_truth))
    return Warehouse(spark, Settings(warehouse=str(folder)))


def evaluation(warehouse: Warehouse, reference: str = "logging") -> Evaluation:
    beside = Beside(Settings(warehouse=f"{warehouse.settings.warehouse}/plain"), BAD)
    return Evaluation(
        warehouse,
        LAST_DAY,
        GOOD,
        reference,
        (GOOD, BAD),
        true_play=true_play_of(warehouse.settings.warehouse),
        beside=(beside,),
        against=("bandit",),
    )


@pytest.fixture(scope="module")
def page(warehouse: Warehouse) -> Page:
    evaluate(evaluation(warehouse))
    return read_page(warehouse, LAST_DAY, GOOD, "logging", None)


def value(page: Page, policy: str, estimator: str) -> float:
    row = page.find(policy, estimator)
    assert row is not None
    return float(row["value"])


def test_policies_are_in_the_order_of_the_truth(page: Page) -> None:
    values = [value(page, policy, "truth") for policy in (BAD, "random", "logging", "most_popular", GOOD)]
    assert values == sorted(values)
    assert value(page, "random", "truth") < value(page, "bandit", "truth") < value(page, GOOD, "truth")


def test_estimates_are_near_the_truth(page: Page) -> None:
    """Within one and a half half-widths, about three standard errors: how often intervals hold is for the study of many
    logs (evaluation/coverage.py), not for one log of 35 users.
    """
    for policy in ("random", "most_popular", "bandit"):
        known = value(page, policy, "truth")
        for estimator in ("ips", "snips", "dr"):
            row = page.find(policy, estimator)
            assert row is not None
            assert abs(row["value"] - known) < 1.5 * (row["high"] - row["value"]), (policy, estimator)


def test_a_model_that_answered_elsewhere_is_judged_on_the_same_impressions(page: Page) -> None:
    for estimator in (*PROMISED, "truth"):
        # Users are added in the order of a hash, which the policy's name is part of.
        assert value(page, f"{BAD} in plain", estimator) == pytest.approx(value(page, BAD, estimator), rel=1e-12)


def with_gate(page: Page, gate: dict[str, Any]) -> Page:
    return replace(page, settings=page.settings.model_copy(update=gate))


@pytest.mark.parametrize(
    ("gate", "promoted"),
    [
        ({"gate_slices": ()}, True),
        ({"gate_slices": (), "gate_margin": 0.9}, False),
        ({"gate_slices": (), "gate_estimator": "snips"}, True),
        # Of a log of 35 users some slices are refused.
        ({"gate_slices": ("artworks",)}, False),
    ],
)
def test_the_page_says_what_the_gate_says_of_the_same_table(page: Page, gate: dict[str, Any], promoted: bool) -> None:
    shown = with_gate(page, gate)
    found = verdict(estimates_of(shown.settings.warehouse, LAST_DAY, GOOD), GOOD, shown.settings)
    assert found.promoted == promoted
    assert shown.verdict == found
    text = page_text(render(shown))
    assert ("Promoted" if promoted else "Refused") + " " + " ".join(found.sentences()) in text
    difference = shown.overall(GOOD)["difference"]
    assert f"Against logging: {difference:+.4f} plays per impression (" in text
    assert f"by {shown.estimator}. A candidate is promoted if" in text


def test_the_report_follows_the_settings_of_the_gate(
    page: Page, warehouse: Warehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = Warehouse(warehouse.spark, warehouse.settings.model_copy(update={"gate_margin": 0.9, "gate_slices": ()}))
    write_report(strict, LAST_DAY, GOOD, page.reference, str(tmp_path / "new" / "page.html"))
    assert "the interval does not clear the margin of +0.9000." in page_text(
        (tmp_path / "new" / "page.html").read_text()
    )
    assert f"refused: {page.overall(GOOD)['difference']:+.4f} plays" in capsys.readouterr().out


def test_small_slices_are_refused_with_a_reason(page: Page) -> None:
    told = refusals(page)
    assert told
    assert all(each.slice and each.policies and each.sentence.endswith(".") for each in told)


def test_a_rerun_replaces_its_rows(page: Page, warehouse: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(evaluation(warehouse, "most_popular"))
    told = capsys.readouterr().out
    assert told.index("difference to most_popular") < told.index("bootstrap of") < told.index("difference to bandit")
    assert re.search(r"^truth +bandit .* \+0\.0000 \(\+0\.0000 to \+0\.0000\)$", told, re.MULTILINE)
    again = read_page(warehouse, LAST_DAY, GOOD, "most_popular", None)
    key = ("policy", "slice_by", "slice", "estimator")
    assert sorted(tuple(row[k] for k in key) for row in again.rows) == sorted(
        tuple(row[k] for k in key) for row in page.rows
    )
    # Sums of doubles may come in another order.
    assert value(again, GOOD, "dr") == pytest.approx(value(page, GOOD, "dr"), rel=1e-12)
    assert again.find("most_popular", "dr")["difference"] == 0  # type: ignore[index]


def test_missing_scores_are_told(warehouse: Warehouse) -> None:
    with pytest.raises(ContractError, match=r"held_out_scores: no rows of unknown for ds="):
        model_scores(warehouse, "unknown", LAST_DAY)
    with pytest.raises(ContractError, match=f"no rows of {GOOD} for ds=2020-01-01"):
        model_scores(warehouse, GOOD, LAST_DAY.replace(year=2020, day=1))


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"u1": "held_out", "u2": "held_out"}, "no training rows"),
        ({"u1": "held_out", "u2": "training"}, "held-out rows of too few users"),
    ],
)
def test_a_log_that_no_regression_can_be_fitted_on_is_refused(
    spark: SparkSession, tmp_path: Path, splits: dict[str, str], said: str
) -> None:
    write(tmp_path, POST_TRAINING_EXAMPLES, [example(1, user_id=user, split=split) for user, split in splits.items()])
    small = Evaluation(Warehouse(spark, Settings(warehouse=str(tmp_path))), DS, GOOD, "logging", (GOOD,))
    with pytest.raises(ContractError, match=f"post_training_examples: {said}.* for ds={DS}"):
        small.examples()


def test_scores_of_several_orders_are_read_by_their_name(warehouse: Warehouse) -> None:
    both = [model_scores(warehouse, name, LAST_DAY).drop("model_version") for name in (GOOD, averaged(GOOD, 4))]
    assert both[0].exceptAll(both[1]).isEmpty()
    assert both[1].count() > 0


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    losses = {"sft": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]}
    html = render(with_gate(replace(page, losses=losses), {"gate_slices": ()}))
    assert not re.search(r"(?:src|href)=\"(?!#)|url\((?!#)|@import|<script|<link", html)
    assert '<meta name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert html.index("<strong>Promoted</strong>") < html.index("<table")
    assert html.count("<svg") == 5
    assert "Loss of sft" in html
    assert not re.search(r"#01020[0-9a]", html)


def test_the_page_shows_a_candidates_rotations_averaged_beside_it(page: Page) -> None:
    line = ([1.0, 2.0], [1.1, 0.9])
    html = render(replace(page, positions={BAD: line, GOOD: line, averaged(GOOD, 4): line}))
    drawn = html[html.index("Probability by option number") :]
    names = [f">{GOOD}<", f">{GOOD}, mean of 4 rotations<", f">{BAD}<"]
    assert sorted(names, key=drawn.index) == names


def test_a_page_without_scores_or_losses_leaves_those_parts_out(page: Page) -> None:
    html = render(replace(page, positions={}, play_rates={}))
    assert html.count("<svg") == 2
    assert "Option numbers" not in html


def test_a_refused_candidate_is_said_first(page: Page) -> None:
    reason = "There are 10 impressions of 2 users; an interval needs at least 100 of 30."
    empty = dict.fromkeys(("value", "low", "high", "difference", "difference_low", "difference_high"))
    rows = [row | empty | {"refused": reason} if row["policy"] == GOOD else row for row in page.rows]
    html = render(replace(page, rows=rows))
    assert html.index(f"<li>The log cannot support an answer: {reason}</li>") < html.index("<table")
    assert "Against logging" not in html


def test_text_of_plots_follows_the_page() -> None:
    svg = spans("A title", [Span("one", 0.1, 0.0, 0.2, 0.15)], "plays") + curves("B", {"x": ([1, 2], [3, 4])}, "x", "y")
    texts = re.findall(r"<text[^>]*>", svg)
    assert len(texts) > 8
    assert all("currentColor" in text for text in texts)  # black would not be seen in a dark room
    assert "var(--mark-1)" in svg
    assert "<?xml" not in svg
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)


def test_losses_are_read_from_the_checkpoint(warehouse: Warehouse, page: Page) -> None:
    losses = json.dumps([{"stage": "dpo", "step": 1, "loss": 0.69}]).encode()
    again = read_page(warehouse, LAST_DAY, GOOD, page.reference, losses)
    assert again.losses == {"dpo": [{"step": 1, "loss": 0.69}]}


def test_the_page_draws_no_more_impressions_than_may_be_judged_on(warehouse: Warehouse, page: Page) -> None:
    settings = warehouse.settings.model_copy(update={"held_out_examples": 1})
    again = read_page(Warehouse(warehouse.spark, settings), LAST_DAY, GOOD, page.reference, None)
    assert len(page.play_rates[GOOD][0]) > 1
    # One impression is in one band, and was played or not.
    assert len(again.play_rates[GOOD][0]) == 1
    assert again.play_rates[GOOD][1] in ([0.0], [1.0])


def test_a_model_beside_in_s3_is_refused_where_spark_does_not_read_s3() -> None:
    with pytest.raises(
        ContractError, match=r"^--beside is 'm@1 in s3a://b/plain', but Spark reads S3 only for a wareh"
    ):
        _model_and_warehouse("m@1 in s3a://b/plain", "/data/warehouse")
    assert _model_and_warehouse("m@1 in s3a://b/plain", "s3://b/main") == ("m@1", "s3://b/plain")
    assert _model_and_warehouse("m@1 in /data/plain", "/data/main") == ("m@1", "/data/plain")
