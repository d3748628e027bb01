"""The options that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from schemas.arguments import night_date, place, utf8
from schemas.paths import absolute_place, is_uri
from schemas.settings import PREFIX, Settings, settings

Read = TypeVar("Read")


def parser(read: Callable[[str], Read]) -> Callable[[str], Read]:
    """`read` as the parser of an option, with its error as a usage error."""

    def parse(text: str) -> Read:
        try:
            return read(text)
        except argparse.ArgumentTypeError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


Ds = Annotated[
    date, typer.Option("--ds", parser=parser(night_date), metavar="YYYY-MM-DD", help="The night, or day of examples.")
]
LatestDs = Annotated[
    date | None,
    typer.Option("--ds", parser=parser(night_date), metavar="YYYY-MM-DD", help="Default: the last day of viewings."),
]
Warehouse = Annotated[
    str | None,
    typer.Option("--warehouse", parser=parser(place), metavar="FOLDER|URI", help="Default: MARQUEE_WAREHOUSE."),
]
Id = parser(utf8)


def folder(text: str) -> Path:
    """The path of a folder or file, with `~` expanded where no shell does it: `--base=~/x`."""
    try:
        found = Path(text).expanduser()
    except RuntimeError:
        raise typer.BadParameter(f"{text!r}: ~name is a user's home folder, and there is no such user") from None
    if not text.strip():
        raise typer.BadParameter(f"{text!r} is not a path")
    return found


def ids_in(file: Path) -> set[str]:
    """The ids in a file, one a line; without blank lines."""
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{str(file)!r} cannot be read: {error}") from None
    return {line.removesuffix("\r") for line in lines if line.strip()}


def model_place(text: str) -> str:
    """Where a checkpoint is: the path of a folder, as `folder` reads it, or the URI of an object store."""
    if not is_uri(text):
        return str(folder(text))
    try:
        return absolute_place(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}") from None


def configured(warehouse: str | None = None) -> Settings:
    """The settings, with `warehouse` if given, for this process and all that it starts, in whatever folder they run."""
    if warehouse is not None:
        os.environ[f"{PREFIX}WAREHOUSE"] = warehouse
        settings.cache_clear()
    config = settings()
    for name in config.model_fields_set & {
        "warehouse",
        "model",
        "teacher",
        "registry",
        "checkpoints",
        "events",
        "spark_jars",
        "cache",
    }:
        os.environ[f"{PREFIX}{name.upper()}"] = getattr(config, name)
    return config
