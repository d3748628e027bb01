"""What a command's exit status tells the scheduler."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from schemas.contract import ContractError

REFUSED = 2
"""The command refused its arguments (as argparse does), its input or its result: trying again would refuse again."""

_FULL = ("No space left on device", "Disk quota exceeded")


def exit_status(name: str, work: Callable[[], object]) -> int:
    """Do a command's work: 0, or REFUSED where it raises ContractError, whose message is told under the name. On a full
    disk, which is worth another try, 1, and the last line says so: Spark's own errors end in a hundred lines of Java.
    """
    try:
        work()
    except ContractError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return REFUSED
    except Exception as error:
        if not any(full in str(error) for full in _FULL):
            raise
        traceback.print_exc()
        print(
            f"{name}: a disk is full, that of the tables or that of temporary files (SPARK_LOCAL_DIRS, TMPDIR). What "
            "was committed before is whole; free some space and run this again",
            file=sys.stderr,
            flush=True,
        )
        return 1
    return 0
