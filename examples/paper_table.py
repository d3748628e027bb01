"""The paper's table on a sample service: 110,000 training examples, every policy, estimated on 5,000 held-out
impressions as in the paper and then on as many as the claim needs, each estimate with the true value. Over three hours
on two cores.

A rerun in the same warehouse skips finished work: a mark file records the examples, and stages and scores skip
themselves.
"""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from subprocess import run

from rich.console import Console

from examples.sample import fill_once, service_of
from schemas.contract import ContractError
from schemas.exit_codes import REFUSED, RunError
from schemas.files import read_file, write_file
from schemas.settings import settings
from schemas.store import has_table, last_day
from schemas.tables import VIEWING_HISTORY

TRAINING_EXAMPLES, HELD_OUT_EXAMPLES = 110_000, 90_000
HELD_OUT_SHARES = {"simulated": 0.5, "movielens": 0.33}
"""5,000 held-out impressions cannot distinguish 3 % from 0, so all users that training does not need are held out."""
USERS = 1700
_MARK = ".paper-table"
"""File that marks a warehouse as this table's sample. Its second line is written after the step examples."""


def make(warehouse: str, service: str, movielens: Path | None) -> None:
    """Make the table and its page, `report.html`, in `warehouse` and, for the signals, in two more beside it."""
    made, base = f"{warehouse}/checkpoints", settings().model
    dpo = f"{made}/dpo"
    main = Sample(warehouse, service, movielens, '["play_rate"]')
    main.prepare()
    # The tiny Llama knows the form of an answer and gains nothing from plays alone; a quarter of them shows that.
    main.train("sft", base, "--limit", "12500")
    main.train("dpo", f"{made}/sft")
    main.score(dpo, "--orders", "4")
    # The teacher is a template that uses the artworks' true themes, not a model.
    main.train("reasoning", base, "--limit", "10000")
    main.train("grpo", f"{made}/sft", "--limit", "500")
    models = [f"{made}/{name}" for name in ("sft", "reasoning", "grpo")]
    for model in (base, dpo, *models):
        main.score(model)
    # The same impressions without signals and with taste groups only: the difference between the untrained model's
    # values is the value of each signal.
    plain = Sample(f"{warehouse}-plain", service, movielens, "[]")
    taste = Sample(f"{warehouse}-taste", service, movielens, '["taste_group"]')
    for sample in (plain, taste):
        sample.prepare()
        sample.score(base)
    beside = [word for sample in (plain, taste) for word in ("--beside", f"{base} in {sample.warehouse}")]
    shown = [word for model in (f"{dpo}+orders4", *models, base) for word in ("--model", model)]
    references = ("most_popular", base, f"{base} in {Path(plain.warehouse).name}")
    against = [word for reference in references for word in ("--against", reference)]
    compared = ["--candidate", dpo, "--champion", "logging"]
    for most in (5_000, HELD_OUT_EXAMPLES):
        main.run("evaluate", *compared, *shown, *beside, *against, held_out=most)
    main.run("report", *compared, "--out", f"{warehouse}/report.html")


class Sample:
    """One warehouse of the table, with the settings of its commands."""

    def __init__(self, warehouse: str, service: str, movielens: Path | None, signals: str) -> None:
        self.warehouse, self.service, self.movielens = warehouse, service, movielens
        self.environment = {
            "MARQUEE_WAREHOUSE": warehouse,
            "MARQUEE_SIGNALS": signals,
            "MARQUEE_TRAINING_EXAMPLES": str(TRAINING_EXAMPLES),
            "MARQUEE_HELD_OUT_SHARE": str(HELD_OUT_SHARES[service]),
        }
        self.console = Console(highlight=False)

    def prepare(self) -> None:
        """Make the sample and its examples. Raises ContractError if there are other tables: a smaller or another
        sample would be trained on and estimated as if it were this one.
        """
        mark = read_file(self.warehouse, _MARK)
        if not has_table(self.warehouse, VIEWING_HISTORY):
            fill_once(self.warehouse, self.service, self.movielens, USERS)
            mark = self._mark()
        elif mark is None or service_of(self.warehouse) != self.service:
            raise ContractError(
                f"{self.warehouse} has tables that `marquee sample paper-table --service {self.service}` did not "
                "make: give another warehouse"
            )
        # The step's tables exist from its start, so they do not show that it ended.
        if len(mark.splitlines()) == 1:
            self.run("step", "examples")
            self._mark("examples")

    def _mark(self, *done: str) -> bytes:
        content = "".join(f"{line}\n" for line in (self.service, *done)).encode()
        write_file(self.warehouse, _MARK, content)
        return content

    def train(self, recipe: str, base: str, *options: str) -> None:
        self.run("train", recipe, "--base", base, "--out", f"{self.warehouse}/checkpoints/{recipe}", *options)

    def score(self, model: str, *options: str) -> None:
        self.run("score-held-out", "--model", model, *options)

    def run(self, *command: str, held_out: int = HELD_OUT_EXAMPLES) -> None:
        """Run a `marquee` command on this warehouse, in its own process. Raises ContractError if it refuses, RunError
        if it fails in another way.
        """
        day: date = last_day(self.warehouse)
        self.console.print(f"\n[bold]marquee {' '.join(command)}[/bold]", soft_wrap=True)
        environment = {**os.environ, **self.environment, "MARQUEE_HELD_OUT_EXAMPLES": str(held_out)}
        arguments = [sys.executable, "-m", "marquee", *command, "--ds", str(day)]
        if status := run(arguments, env=environment, check=False).returncode:
            failure = ContractError if status == REFUSED else RunError
            raise failure(f"`marquee {' '.join(command)}` ended with status {status}; run this again to resume")
