"""Common parts of all commands: an error becomes one sentence and an exit status."""

from __future__ import annotations

import signal
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from schemas.events import emit
from schemas.exit_codes import exit_status


class Command(TyperCommand):
    """A command that reports a refusal as one sentence after its name, with an exit status for the scheduler."""

    def invoke(self, ctx: Any) -> int:
        """Run it and return the exit status."""
        emit("started", command=ctx.command_path)
        status = 0
        usage: typer.TyperException | None = None

        def work() -> None:
            nonlocal status, usage
            try:
                super(Command, self).invoke(ctx)
            except typer.Exit as end:
                status = end.exit_code
            except typer.TyperException as error:
                usage = error

        failed = exit_status(ctx.command_path, work)
        if usage is not None:
            # The caller prints errors of usage alike, wherever an argument is refused.
            raise usage
        return failed or status


def clean_up_when_ended() -> None:
    """Make SIGTERM end this process like an error, so that it cleans up: a half-made folder, a running Airflow."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def application(help_text: str) -> typer.Typer:
    """A group of commands. Paragraphs of its help are wrapped to the terminal's width."""
    return typer.Typer(
        help="\n\n".join(" ".join(paragraph.split()) for paragraph in help_text.split("\n\n")),
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
