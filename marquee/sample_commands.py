"""Commands about the sample services, whose true preferences are known."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from marquee.command import Command, application, clean_up_when_ended
from marquee.night_commands import ServiceName
from marquee.options import Ds, Warehouse, configured, folder, parser
from schemas.arguments import night_date

# Limits memory, and keeps the first day in the range of Python's dates.
_MOST = 500_000
Count = Annotated[int, typer.Option(min=1, max=_MOST)]
Seed = Annotated[int, typer.Option(help="Seed of the random service.")]


def simulated(
    users: Count = 300,
    titles: Count = 200,
    days: Annotated[int, typer.Option(min=1, max=_MOST, help="Days of viewing history.")] = 14,
    last_day: Annotated[
        date | None, typer.Option(parser=parser(night_date), metavar="YYYY-MM-DD", help="Default: 2026-01-14.")
    ] = None,
    seed: Seed = 1,
    warehouse: Warehouse = None,
) -> None:
    """Write simulated users, titles and histories to a new warehouse."""
    from examples.sample import make_simulated
    from examples.simulated import LAST_DAY

    clean_up_when_ended()
    make_simulated(configured(warehouse).warehouse, users, titles, days, seed, last_day or LAST_DAY)


def movielens(
    movielens_folder: Annotated[
        Path,
        typer.Option("--folder", parser=folder, metavar="FOLDER", help="The folder with u.data, u.item and u.genre."),
    ],
    seed: Seed = 1,
    warehouse: Warehouse = None,
) -> None:
    """Write the real histories and titles of MovieLens 100K to a new warehouse."""
    from examples.sample import make_movielens

    clean_up_when_ended()
    make_movielens(configured(warehouse).warehouse, movielens_folder, seed)


def value(ds: Ds, warehouse: Warehouse = None) -> None:
    """Compare a night's choices with the sample's truth: the mean true probability of a play."""
    from examples.sample_value import report

    print(report(configured(warehouse), ds))


def coverage(
    logs: Annotated[int, typer.Option(min=2, help="Number of logs of each size.")] = 200,
    sizes: Annotated[list[int], typer.Option("--size", min=1, help="Impressions per log; may be repeated.")] = [  # noqa: B006
        500,
        2000,
        8000,
    ],
    seed: Seed = 1,
) -> None:
    """Compare the estimators with the truth on simulated logs: bias, error, and coverage of the intervals."""
    from evaluation.coverage import coverage_table

    configured()
    print(coverage_table(logs, sizes, seed))


def tiny_llama(
    to: Annotated[
        Path | None, typer.Option("--folder", parser=folder, metavar="FOLDER", help="Default: examples/tiny_llama.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1)] = 1500,
    users: Annotated[int, typer.Option(min=1, help="Simulated users to learn from.")] = 16_000,
    titles: Annotated[int, typer.Option(min=1, help="Titles in each of the two services.")] = 2_400,
    seed: Annotated[int, typer.Option()] = 1000,
) -> None:
    """Train the repository's tiny Llama from scratch."""
    from examples.make_tiny_llama import make

    make(to, steps, users, titles, seed)


def tiny_llama_value(
    checkpoint: Annotated[
        Path | None, typer.Option("--folder", parser=folder, metavar="FOLDER", help="Default: examples/tiny_llama.")
    ] = None,
    users: Annotated[int, typer.Option(min=2)] = 2_000,
    titles: Annotated[int, typer.Option(min=1, help="Titles in each of the two services.")] = 800,
    questions: Annotated[int, typer.Option(min=1, help="Questions for each number of options and service.")] = 500,
    seed: Annotated[int, typer.Option(help="Not the seed with which it was trained.")] = 2,
) -> None:
    """Measure on unseen services how well the tiny Llama reads tastes, and whether it prefers styles or bands."""
    from examples.make_tiny_llama import FOLDER
    from examples.tiny_value import report

    print(report(checkpoint or FOLDER, users, titles, questions, seed))


def paper_table(
    service: Annotated[ServiceName, typer.Option(help="The sample.")] = "simulated",
    movielens_folder: Annotated[
        Path | None, typer.Option("--movielens", parser=folder, metavar="FOLDER", help="MovieLens 100K.")
    ] = None,
    warehouse: Warehouse = None,
) -> None:
    """Train and estimate every policy on 110,000 examples: over three hours on two cores. A rerun resumes."""
    from examples.paper_table import make

    clean_up_when_ended()
    make(configured(warehouse).warehouse, service, movielens_folder)


def add_to(app: typer.Typer) -> None:
    samples = application("Make a sample service, or measure on one, whose true preferences are known.")
    for command in (simulated, movielens, value, coverage, tiny_llama, tiny_llama_value, paper_table):
        samples.command(cls=Command)(command)
    app.add_typer(samples, name="sample", rich_help_panel="Samples and measurements")
