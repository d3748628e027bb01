"""The evaluation of a candidate as one HTML page, from `policy_estimates`, the scores behind them and, if its folder is
given, its losses (`loss.json`). The page is self-contained, fits a phone and follows the reader's colour scheme.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import functions as F

from evaluation.behaviour import play_rate_by_probability, positions
from evaluation.log import held_out
from evaluation.models import champion_version, is_scored, model_scores, version_of
from evaluation.page import Page, render
from evaluation.policies import BASELINES, LOGGING
from schemas.contract import ContractError
from schemas.events import report
from schemas.files import read_file, write_file
from schemas.paths import is_uri
from schemas.tables import POLICY_ESTIMATES, POST_TRAINING_EXAMPLES
from spark_jobs.session import materialized
from spark_jobs.splits import HELD_OUT, first_of_splits
from spark_jobs.warehouse import Warehouse


def read_page(warehouse: Warehouse, ds: date, candidate: str, reference: str, losses: bytes | None) -> Page:
    """The content of the page on a candidate. Raises ContractError if it was not evaluated."""
    found = warehouse.read(POLICY_ESTIMATES).where((F.col("ds") == F.lit(ds)) & (F.col("candidate") == candidate))
    rows = [row.asDict() for row in found.collect()]
    if not rows:
        raise ContractError(
            f"{POLICY_ESTIMATES.name}: nothing about {candidate} for ds={ds}; run `marquee evaluate` for it first"
        )
    examples = warehouse.read(POST_TRAINING_EXAMPLES).where((F.col("ds") == F.lit(ds)) & (F.col("split") == HELD_OUT))
    # As many impressions as in the estimates, so that the whole page is about the same ones.
    log = materialized(held_out(first_of_splits(examples, warehouse.settings)))
    by_place, by_probability = {}, {}
    for model in sorted({row["policy"] for row in rows} - {LOGGING, *BASELINES}):
        if not is_scored(warehouse, model):
            continue  # a model beside, which scored another warehouse's prompts
        scores = model_scores(warehouse, model, ds).persist(StorageLevel.MEMORY_AND_DISK)
        at = positions(scores).collect()
        by_place[model] = [float(row["option"]) for row in at], [row["probability"] / row["even"] for row in at]
        played = play_rate_by_probability(log, scores).collect()
        by_probability[model] = [row["times_even"] for row in played], [row["play_rate"] for row in played]
    return Page(ds, candidate, reference, warehouse.settings, rows, by_place, by_probability, _losses(losses))


def _losses(content: bytes | None) -> dict[str, list[dict[str, float]]]:
    """A checkpoint's `loss.json`, a list of {stage, step, loss}, by stage."""
    losses: dict[str, list[dict[str, float]]] = {}
    for each in json.loads(content) if content else []:
        losses.setdefault(each["stage"], []).append({"step": each["step"], "loss": each["loss"]})
    return losses


def write_report(warehouse: Warehouse, ds: date, candidate: str, champion: str | None, out: str) -> None:
    """Write the page on a candidate (a version or a checkpoint's folder) compared with `champion`, by default the model
    that would score a night now.
    """
    is_place = is_uri(candidate) or Path(candidate).is_dir()
    losses = read_file(candidate, "loss.json") if is_place else None
    page = read_page(warehouse, ds, version_of(candidate), champion_version(champion, warehouse.settings), losses)
    folder, _, name = out.rpartition("/")
    write_file(folder, name, render(page).encode())
    report("report", f"{page.verdict}\n{out}")
