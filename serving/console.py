"""Where serving's commands print."""

from __future__ import annotations

import os
import sys

from rich.console import Console


def wide_console() -> Console:
    """Standard output; where it is no terminal, wide enough that captions are not broken into columns of words."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)
