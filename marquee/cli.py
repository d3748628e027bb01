"""Assembles the commands and runs the one that the arguments name."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from marquee import __version__, machine_commands, model_commands, night_commands, sample_commands
from marquee.command import application
from schemas.exit_codes import REFUSED

app = application(
    """Chooses, every night and by a post-trained LLM, the artwork that each user should see for each title.

    Settings are `MARQUEE_…` variables of the environment (schemas/settings.py); `marquee doctor` prints those that are
    set. Exit status: 0 done, 2 refused (arguments, settings, input or result) or a library is missing, so a retry
    would fail too, 1 any other failure.
    """
)
night_commands.add_to(app)
model_commands.add_to(app)
sample_commands.add_to(app)
machine_commands.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"marquee {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def _given(arguments: list[str] | None) -> list[str]:
    return (sys.argv[1:] if arguments is None else arguments) or ["--help"]


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    command = typer.main.get_command(app)
    try:
        return int(command.main(_given(arguments), prog_name="marquee", standalone_mode=False) or 0)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "marquee"
        # Pydantic, which checks the names that an option may have, puts the words before its sentence.
        print(f"{path}: {error.format_message().replace('Value error, ', '')}", file=sys.stderr)
        return REFUSED
    except typer.Abort:
        return 1
