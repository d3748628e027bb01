"""What a command reports while it works: a line for whoever reads its log and, where MARQUEE_EVENTS names a file, the
same as a JSON object a line for the program that follows it (scheduling/local.py does).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

EVENTS = "MARQUEE_EVENTS"


def report(step: str, message: str, **facts: object) -> None:
    """Print `step: message`, and emit it as an event with the figures that it is made of."""
    print(f"{step}: {message}", flush=True)
    emit("report", step=step, message=message, **facts)


def report_counts(step: str, seconds: float, counts: Mapping[str, int]) -> None:
    """Report what a step counted and the seconds it took."""
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
                # One write of a short line to a file that is open for appending is whole, whoever else appends.
                events.write(json.dumps({"event": event, **facts}) + "\n")
        except OSError as error:
            # Nobody's work ends because nobody can follow it.
            print(f"{EVENTS} is {file!r} and cannot be written: {error}", file=sys.stderr)
