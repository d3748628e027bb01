"""What a command's exit status means to the scheduler."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from schemas.contract import ContractError
from schemas.events import emit
from schemas.paths import without_password

REFUSED = 2
"""The command refused its arguments, its input or its result: trying again would refuse again."""

_FULL = ("No space left on device", "Disk quota exceeded")
_DISK_IS_FULL = (
    "a disk is full, that of the tables or that of temporary files (SPARK_LOCAL_DIRS, TMPDIR). What was committed "
    "before is whole; free some space and run this again"
)


class RunError(Exception):
    """What was run ended badly and may be tried again; the message says where to look."""


def exit_status(command: str, work: Callable[[], object]) -> int:
    """Do a command's work: 0, or REFUSED where it raises ContractError and 1 where it raises RunError, whose message is
    printed under its name. On a full disk, which is worth another try, 1, and the last line says so: Spark's own errors
    end in a hundred lines of Java. Any other error is raised.
    """
    try:
        work()
    except ContractError as error:
        _fail(command, str(error))
        return REFUSED
    except RunError as error:
        _fail(command, str(error))
        return 1
    except Exception as error:
        if not any(full in str(error) for full in _FULL):
            sentence = without_password(f"{type(error).__name__}: {_first_line(error)}")
            emit("failed", command=command, message=sentence)
            raise
        traceback.print_exc()
        _fail(command, _DISK_IS_FULL)
        return 1
    return 0


def _fail(command: str, message: str) -> None:
    print(f"{command}: {message}", file=sys.stderr, flush=True)
    emit("failed", command=command, message=without_password(message))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")
