"""Commands about this installation, and measurements."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from marquee import __version__
from marquee.command import Command, clean_up_when_ended
from marquee.options import Warehouse, configured, folder

ROOT = Path(__file__).resolve().parent.parent
# Everything after a benchmark's name goes to the benchmark.
OPTIONS_OF_ITS_OWN: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def doctor(warehouse: Warehouse = None) -> None:
    """Print versions, changed settings, and whether the warehouse and the model can be reached."""
    from inference.champion import model_of_tonight
    from schemas.settings import Settings
    from serving.console import wide_console
    from serving.doctor import doctor_table

    def model(config: Settings) -> str:
        chosen = model_of_tonight(config)
        return f"{chosen.model.version} in {chosen.model.source}: {chosen.why}"

    table, well = doctor_table(__version__, configured(warehouse), model)
    wide_console().print(table)
    if not well:
        raise typer.Exit(1)


def airflow() -> None:
    """Run a real Airflow on this machine, scheduler and UI, until Ctrl-C."""
    from scheduling.local import airflow_home

    configured()
    env = airflow_home()
    home = env["AIRFLOW_HOME"]
    print(f"Airflow's UI: http://localhost:8080 (no password; this machine only). Its files: {home}", flush=True)
    os.execvpe("airflow", ["airflow", "standalone"], env)


def spark_cluster(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The command to run.")],
) -> None:
    """Run a command with a cluster of two workers on this machine as Airflow's spark_default."""
    from scheduling.spark_cluster import run_on_cluster

    if shutil.which(command[0]) is None:
        raise typer.BadParameter(f"there is no command {command[0]!r} on this machine")
    clean_up_when_ended()
    if status := run_on_cluster(command):
        raise typer.Exit(status)


def benchmarks() -> list[str]:
    """The names of the benchmarks: the modules of benchmarks/ that have a `main`."""
    files = sorted((ROOT / "benchmarks").glob("*.py"))
    return [file.stem for file in files if "\ndef main(" in file.read_text()]


def bench(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The benchmark; NAME --help prints its options.")
    ] = None,
) -> None:
    """Run one of the measurements in benchmarks/; without NAME, list them."""
    names = benchmarks()
    if name in (None, "--help", "-h"):
        for each in names:
            summary = (import_module(f"benchmarks.{each}").__doc__ or "").strip().splitlines()[0]
            print(f"{each:<16} {summary}")
        return
    if name not in names:
        raise typer.BadParameter(f"there is no benchmark {name!r}; expected one of {', '.join(names)}")
    if status := import_module(f"benchmarks.{name}").main(context.args):
        raise typer.Exit(status)


def jars(
    to: Annotated[Path, typer.Argument(parser=folder, metavar="FOLDER", help="An empty or new folder.")],
    warehouse: Warehouse = None,
) -> None:
    """Fetch the JARs that Spark needs into a folder, for MARQUEE_SPARK_JARS: once, instead of at every start."""
    from spark_jobs.session import fetch_jars

    configured(warehouse)
    made = fetch_jars(to)
    print(f"{len(made)} JARs, {sum(jar.stat().st_size for jar in made) / 2**20:.0f} MiB, in {to}")


def docs() -> None:
    """Write docs/tables.md from the contract."""
    from schemas.docs import write

    write()


def add_to(app: typer.Typer) -> None:
    for command in (doctor, airflow, jars, docs):
        app.command(cls=Command, rich_help_panel="This installation")(command)
    app.command(cls=Command, rich_help_panel="This installation", context_settings={"ignore_unknown_options": True})(
        spark_cluster
    )
    app.command(cls=Command, rich_help_panel="Samples and measurements", context_settings=OPTIONS_OF_ITS_OWN)(bench)
