"""The console of serving's commands."""

from __future__ import annotations

import os
import sys

from rich.console import Console


def wide_console() -> Console:
    """Standard output; if it is no terminal, wide enough that captions do not wrap word by word."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)
