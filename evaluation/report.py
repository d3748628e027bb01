"""python -m evaluation.report --ds D --candidate VERSION --out FILE [--champion POLICY] [--checkpoint FOLDER]

One HTML page that says what a candidate is worth, from `policy_estimates`, the scores that it was judged by and, with
--checkpoint, its losses (`loss.json`). It needs nothing but itself, fits a phone and follows the reader's colours.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import functions as F

from evaluation.behaviour import play_rate_by_probability, positions
from evaluation.log import held_out
from evaluation.models import model_scores
from evaluation.page import Page, render, verdict
from evaluation.policies import BASELINES, LOGGING
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED
from schemas.settings import settings
from schemas.tables import POLICY_ESTIMATES, POST_TRAINING_EXAMPLES
from spark_jobs.session import spark_session
from spark_jobs.warehouse import Warehouse


def read_page(warehouse: Warehouse, ds: date, candidate: str, reference: str, checkpoint: Path | None) -> Page:
    """What the tables tell of a candidate; ContractError where it was not evaluated."""
    found = warehouse.read(POLICY_ESTIMATES).where((F.col("ds") == F.lit(ds)) & (F.col("candidate") == candidate))
    rows = [row.asDict() for row in found.collect()]
    if not rows:
        raise ContractError(
            f"{POLICY_ESTIMATES.name}: nothing of {candidate} for ds={ds}; run evaluation.evaluate for it first"
        )
    log = held_out(warehouse.read(POST_TRAINING_EXAMPLES).where(F.col("ds") == F.lit(ds))).persist(
        StorageLevel.MEMORY_AND_DISK
    )
    by_place, by_probability = {}, {}
    for model in sorted({row["policy"] for row in rows} - {LOGGING, *BASELINES}):
        scores = model_scores(warehouse, model, ds).persist(StorageLevel.MEMORY_AND_DISK)
        at = positions(scores).collect()
        by_place[model] = [float(row["option"]) for row in at], [row["probability"] / row["even"] for row in at]
        played = play_rate_by_probability(log, scores).collect()
        by_probability[model] = [row["times_even"] for row in played], [row["play_rate"] for row in played]
    return Page(ds, candidate, reference, rows, by_place, by_probability, _losses(checkpoint))


def _losses(checkpoint: Path | None) -> dict[str, list[dict[str, float]]]:
    """`loss.json`: by stage, a list of {step, loss}."""
    file = checkpoint / "loss.json" if checkpoint else None
    if file is None or not file.is_file():
        return {}
    losses: dict[str, list[dict[str, float]]] = json.loads(file.read_text())
    return losses


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m evaluation.report", description="A page on one candidate.")
    parser.add_argument("--ds", type=date.fromisoformat, required=True, help="the run's day, YYYY-MM-DD")
    parser.add_argument("--candidate", required=True, help="the model version that was judged")
    parser.add_argument("--champion", default=LOGGING, help="what it was compared with; default: %(default)s")
    parser.add_argument("--checkpoint", type=Path, help="the candidate's folder, for its losses")
    parser.add_argument("--out", type=Path, required=True, help="the page to write")
    parsed = parser.parse_args(arguments)
    warehouse = Warehouse(spark_session("marquee report"), settings())
    try:
        page = read_page(warehouse, parsed.ds, parsed.candidate, parsed.champion, parsed.checkpoint)
        parsed.out.parent.mkdir(parents=True, exist_ok=True)
        parsed.out.write_text(render(page))
        print(f"{verdict(page).sentence}\n{parsed.out}")
    except ContractError as error:
        print(f"report: {error}", file=sys.stderr, flush=True)
        return REFUSED
    finally:
        warehouse.spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
