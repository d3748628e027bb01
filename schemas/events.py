"""Progress reports of a command: a line in its log and, if MARQUEE_EVENTS names a file, the same as one JSON object per
line for the program that follows it (scheduling/local.py).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

EVENTS = "MARQUEE_EVENTS"


def report(step: str, message: str, **facts: object) -> None:
    """Print `step: message`, and emit it as an event with its figures."""
    print(f"{step}: {message}", flush=True)
    emit("report", step=step, message=message, **facts)


def report_counts(step: str, seconds: float, counts: Mapping[str, int]) -> None:
    """Report a step's counts and the seconds it took."""
    message = f"{seconds:.1f} s, " + ", ".join(f"{name} {value:,}" for name, value in counts.items())
    report(step, message, seconds=seconds, counts=dict(counts))


def emit(event: str, **facts: object) -> None:
    """Append one event to the file that MARQUEE_EVENTS names; without it, do nothing.

    The variable is read here and not with the settings, since an event may say that a setting is wrong.
    """
    file = os.environ.get(EVENTS)
    if file:
        try:
            with Path(file).open("a") as events:
                # One short write to a file opened for appending is atomic, whatever other processes append.
                events.write(json.dumps({"event": event, **facts}) + "\n")
        except OSError as error:
            # A progress report that cannot be written must not fail the work.
            print(f"{EVENTS} is {file!r} and cannot be written: {error}", file=sys.stderr)
