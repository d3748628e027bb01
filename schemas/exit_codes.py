"""The exit statuses of commands, as the scheduler reads them."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from schemas.contract import ContractError
from schemas.events import emit
from schemas.paths import without_password

REFUSED = 2
"""The command refused its arguments, its input or its result: a retry would be refused again."""

_FULL = ("No space left on device", "Disk quota exceeded")
_DISK_IS_FULL = (
    "a disk is full, that of the tables or that of temporary files (SPARK_LOCAL_DIRS, TMPDIR). Earlier commits are "
    "whole; free some space and run this again"
)


class RunError(Exception):
    """The work failed and may be retried; the message says where to look."""


def exit_status(command: str, work: Callable[[], object]) -> int:
    """Run a command's work and return its exit status.

    That is 0, REFUSED if it raises ContractError or 1 if it raises RunError, whose messages are printed after the
    command's name. A full disk is worth a retry: the status is 1 and the last line says so, because Spark's own errors
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
