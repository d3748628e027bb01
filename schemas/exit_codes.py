"""What a command's exit status tells the scheduler."""

from __future__ import annotations

import sys
from collections.abc import Callable

from schemas.contract import ContractError

REFUSED = 2
"""The command refused its arguments (as argparse does), its input or its result: trying again would refuse again."""


def exit_status(name: str, work: Callable[[], object]) -> int:
    """Do a command's work: 0, or REFUSED where it raises ContractError, whose message is told under the name."""
    try:
        work()
    except ContractError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return REFUSED
    return 0
