"""The paper's table on a sample service: 110,000 training examples, every policy, estimated on 5,000 held-out
impressions as in the paper and then on as many as the claim needs, each estimate beside the true value. Over three
hours on two cores.

What is done in that warehouse is not done again: examples have a mark, stages and scores know themselves.
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
from schemas.exit_codes import RunError
from schemas.settings import settings
from schemas.store import last_day
from schemas.tables import VIEWING_HISTORY

TRAINING_EXAMPLES, HELD_OUT_EXAMPLES = 110_000, 90_000
HELD_OUT_SHARES = {"simulated": 0.5, "movielens": 0.33}
"""5,000 held-out impressions cannot tell 3 % from nothing: as many users are held out as are left by those to learn
from.
"""
USERS = 1700
_MARK = ".paper-table"
"""A file in the warehouse: its tables are this table's sample. A second line says that the step examples ended."""


def make(warehouse: str, service: str, movielens: Path | None) -> None:
    """Make the table and its page, `report.html`, in a warehouse of its own and two beside it, for the signals."""
    made, base = Path(warehouse, "checkpoints"), settings().model
    dpo = str(made / "dpo")
    main = Sample(warehouse, service, movielens, '["play_rate"]')
    main.prepare()
    # The tiny Llama knows the form of an answer, and gains nothing by plays alone: a quarter of them shows it.
    main.train("sft", base, "--limit", "12500")
    main.train("dpo", str(made / "sft"))
    main.score(dpo, "--orders", "4")
    # Its teacher is no model: it writes templated reasons from the artworks' true themes.
    main.train("reasoning", base, "--limit", "10000")
    main.train("grpo", str(made / "sft"), "--limit", "500")
    models = [str(made / name) for name in ("sft", "reasoning", "grpo")]
    for model in (base, dpo, *models):
        main.score(model)
    # The same impressions with neither signal and with taste groups alone: how the untrained model's answers differ is
    # what each signal is worth.
    plain = Sample(f"{warehouse}-plain", service, movielens, "[]")
    taste = Sample(f"{warehouse}-taste", service, movielens, '["taste_group"]')
    for sample in (plain, taste):
        sample.prepare()
        sample.score(base)
    beside = [word for sample in (plain, taste) for word in ("--beside", f"{base} in {sample.warehouse}")]
    shown = [word for model in (f"{dpo}+orders4", *models, base) for word in ("--model", model)]
    references = ("most_popular", base, f"{base} in {Path(plain.warehouse).name}")
    against = [word for reference in references for word in ("--against", reference)]
    judged = ["--candidate", dpo, "--champion", "logging"]
    for most in (5_000, HELD_OUT_EXAMPLES):
        main.run("evaluate", *judged, *shown, *beside, *against, held_out=most)
    main.run("report", *judged, "--out", f"{warehouse}/report.html")


class Sample:
    """One warehouse of the table, with the settings that its commands have."""

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
        """Make the sample and its examples. Raises ContractError where the folder holds other tables: a smaller sample,
        or another, would be trained on and estimated as if it were this one.
        """
        mark = Path(self.warehouse, _MARK)
        if not Path(self.warehouse, VIEWING_HISTORY.name).is_dir():
            fill_once(self.warehouse, self.service, self.movielens, USERS)
            mark.write_text(f"{self.service}\n")
        elif not mark.exists() or service_of(self.warehouse) != self.service:
            raise ContractError(
                f"{self.warehouse} holds tables that `marquee sample paper-table --service {self.service}` did not "
                "make: name another warehouse"
            )
        # The tables of the step are there from its beginning on: they do not show that it ended.
        if len(mark.read_text().splitlines()) == 1:
            self.run("step", "examples")
            mark.write_text(f"{self.service}\nexamples\n")

    def train(self, recipe: str, base: str, *options: str) -> None:
        self.run("train", recipe, "--base", base, "--out", f"{self.warehouse}/checkpoints/{recipe}", *options)

    def score(self, model: str, *options: str) -> None:
        self.run("score-held-out", "--model", model, *options)

    def run(self, *command: str, held_out: int = HELD_OUT_EXAMPLES) -> None:
        """Run a command of `marquee` on this warehouse, in its own process. Raises RunError where it failed."""
        day: date = last_day(self.warehouse)
        self.console.print(f"\n[bold]marquee {' '.join(command)}[/bold]", soft_wrap=True)
        environment = {**os.environ, **self.environment, "MARQUEE_HELD_OUT_EXAMPLES": str(held_out)}
        arguments = [sys.executable, "-m", "marquee", *command, "--ds", str(day)]
        if status := run(arguments, env=environment, check=False).returncode:
            raise RunError(f"`marquee {' '.join(command)}` ended with status {status}; run this again to go on")
