"""python -m benchmarks.orders --ds 2026-01-14 --model MODEL --orders 4 [--margins 0 0.05 0.1 0.2 1]

What asking close pairs in further orders costs and gains, for settings of MARQUEE_CLOSE_MARGIN: worked out from the
held-out questions of post-training, asked once (`python -m inference.held_out --model MODEL`) and each in several
orders (the same with `--orders 4`). On a sample service the gain is told as true play probability of what is chosen.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.models import version_of
from examples.truth import FOLDER, Truth, read_truth
from inference.orders import averaged
from inference.warehouse import Night
from schemas.arguments import night_date
from schemas.contract import ContractError
from schemas.exit_codes import exit_status
from schemas.settings import Settings, settings
from schemas.tables import ARTWORK_SCORES, POST_TRAINING_EXAMPLES, SCORING_RUNS

type_question = tuple[str, str]
"""context_key and choice_key."""


@dataclass(frozen=True)
class Question:
    """A question asked once and in several orders: how far apart the two largest probabilities of the first are, in how
    many orders it was asked, and what is chosen by one order and by all.
    """

    apart: float
    orders: int
    by_one: str
    by_all: str


@dataclass(frozen=True)
class Costs:
    """Of one margin: shares of the questions asked again and answered otherwise, and prompts for each question."""

    asked_again: float
    prompts: float
    changed: float


@dataclass(frozen=True)
class Gain:
    """Of one margin: mean true play probability over impressions, its difference to asking once, and the standard error
    of that, clustered by user.
    """

    value: float
    difference: float
    error: float


def best(row: dict[str, Any]) -> str:
    """The most probable artwork; of equal ones the first by id, as an evaluation chooses."""
    chosen: str = min(zip([-each for each in row["probabilities"]], row["artwork_ids"], strict=True))[1]
    return chosen


def compared(
    once: dict[type_question, dict[str, Any]], in_all: dict[type_question, dict[str, Any]], orders: int
) -> dict[type_question, Question]:
    """The questions with a choice that were scored both ways, from rows of `artwork_scores`."""
    found = {}
    for key in once.keys() & in_all.keys():
        options = len(once[key]["artwork_ids"])
        if options > 1:
            first, second = heapq.nlargest(2, once[key]["probabilities"])
            found[key] = Question(first - second, min(orders, options), best(once[key]), best(in_all[key]))
    return found


def costs(asked: list[Question], margin: float) -> Costs:
    again = np.array([each.apart <= margin for each in asked])
    changed = np.array([each.by_one != each.by_all for each in asked])
    further = np.array([each.orders - 1 for each in asked])
    return Costs(float(again.mean()), float(1 + (again * further).mean()), float((again & changed).mean()))


def gain(impressions: list[tuple[str, Question]], truth: Truth, margin: float) -> Gain:
    """`impressions` are (user_id, question)."""
    users = np.array([user_id for user_id, _ in impressions])
    by_one, by_all = (
        np.array([float(truth.play_probabilities(user_id, [chosen])[0]) for user_id, chosen in sides])
        for sides in zip(*(((user, each.by_one), (user, each.by_all)) for user, each in impressions), strict=True)
    )
    again = np.array([each.apart <= margin for _, each in impressions])
    more = np.where(again, by_all - by_one, 0.0)
    _, of_user = np.unique(users, return_inverse=True)
    residuals = np.bincount(of_user, weights=more - more.mean())
    error = float(np.sqrt((residuals**2).sum()) / len(more))
    return Gain(float((by_one + more).mean()), float(more.mean()), error)


def scores(config: Settings, ds: date, name: str) -> tuple[dict[type_question, dict[str, Any]], dict[str, float]]:
    """Rows of `artwork_scores` by question, and sums of `scoring_runs`: what the scoring of them took."""
    night = Night(config.of_scores(name).warehouse, ds)
    rows = night.rows(ARTWORK_SCORES, ["user_id", "title_id", "artwork_ids", "probabilities"])
    by_question = {(row["user_id"], row["title_id"]): row for row in rows}
    if not by_question:
        raise ContractError(f"{night.path(ARTWORK_SCORES)}: no rows for ds={ds}; run inference.held_out first")
    columns = ["pairs", "asked_again", "prompt_tokens", "cached_tokens", "seconds"]
    runs = list(night.rows(SCORING_RUNS, columns))
    return by_question, {column: sum(run[column] for run in runs) for column in columns}


def lines(
    asked: dict[type_question, Question],
    impressions: list[tuple[str, Question]],
    truth: Truth | None,
    margins: list[float],
) -> Iterator[str]:
    """A table in Markdown, a row for each margin."""
    known = " mean true play | more than asked once |" if truth else ""
    yield "| margin | pairs asked again | prompts a pair | other artwork |" + known
    yield "| ---: | ---: | ---: | ---: |" + (" ---: | ---: |" if truth else "")
    for margin in margins:
        cost = costs(list(asked.values()), margin)
        line = f"| {margin:g} | {cost.asked_again:.1%} | {cost.prompts:.2f} | {cost.changed:.1%} |"
        if truth:
            found = gain(impressions, truth, margin)
            line += f" {found.value:.4f} | {found.difference:+.4f} ± {found.error:.4f} |"
        yield line


def tell(parsed: argparse.Namespace) -> None:
    """Print what the command line asks for. Raises ContractError where the scores cannot be compared."""
    config = settings().model_copy(update={"warehouse": parsed.warehouse})
    version = version_of(parsed.model)
    once, took = scores(config, parsed.ds, version)
    in_all, took_all = scores(config, parsed.ds, averaged(version, parsed.orders))
    if took["asked_again"]:
        raise ContractError(f"{version}: pairs were asked again; score it with MARQUEE_FURTHER_ORDERS=0 to compare")
    asked = compared(once, in_all, parsed.orders)
    examples = Night(parsed.warehouse, parsed.ds).rows(
        POST_TRAINING_EXAMPLES, ["user_id", "context_key", "choice_key"], split="held_out"
    )
    keys = [(row["user_id"], (row["context_key"], row["choice_key"])) for row in examples]
    impressions = [(user_id, asked[key]) for user_id, key in keys if key in asked]
    if not impressions:
        raise ContractError(
            f"{version}: of {len(keys):,} held-out impressions of ds={parsed.ds} none was scored both once and in "
            f"{parsed.orders} orders; run inference.held_out again both ways"
        )
    truth = read_truth(Path(parsed.warehouse)) if Path(parsed.warehouse, FOLDER).is_dir() else None
    print(f"{version}: {len(asked):,} questions of {len(impressions):,} held-out impressions")
    for name, run in (("once", took), (f"in {parsed.orders} orders", took_all)):
        computed = (run["prompt_tokens"] - run["cached_tokens"]) / run["pairs"]
        print(f"{name}: {run['pairs']:,.0f} pairs in {run['seconds']:,.1f} s, {computed:.0f} computed tokens a pair")
    print(*lines(asked, impressions, truth, parsed.margins), sep="\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orders", description=str(__doc__).split("\n\n")[1])
    parser.add_argument("--ds", type=night_date, required=True, help="the run's day, YYYY-MM-DD")
    parser.add_argument("--model", required=True, help="a model's version, or its checkpoint's folder")
    parser.add_argument("--orders", type=int, required=True, help="what inference.held_out was given as --orders")
    parser.add_argument("--margins", type=float, nargs="+", default=[0, 0.05, 0.1, 0.2, 1], help="default: %(default)s")
    parser.add_argument("--warehouse", default=settings().warehouse, help="default: %(default)s")
    parsed = parser.parse_args(arguments)
    return exit_status("orders", lambda: tell(parsed))


if __name__ == "__main__":
    sys.exit(main())
