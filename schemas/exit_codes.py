"""The exit statuses of commands, as the scheduler reads them, and an error's cause in one sentence."""

from __future__ import annotations

import re
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
# Py4J takes a class that Java has not for a package.
_NO_CLASS = "'JavaPackage' object is not callable"
_MISSING = re.compile(
    r"ClassNotFoundException|NoClassDefFoundError|NoSuchMethodError|UnsupportedClassVersionError|DATA_SOURCE_NOT_FOUND|"
    + _NO_CLASS
)
_IS_MISSING = (
    "a library is missing or of another version (MARQUEE_SPARK_PACKAGES, MARQUEE_SPARK_JARS, requirements/), so a "
    "retry would fail too"
)
# Java prints its exceptions outermost first, after the text of Py4J.
_JAVA = re.compile(r"^(?:Caused by)?: (.+)$", re.MULTILINE)


class RunError(Exception):
    """The work failed and may be retried; the message says where to look."""


def exit_status(command: str, work: Callable[[], object]) -> int:
    """Run a command's work and return its exit status; if it fails, the last line printed is the cause.

    That is 0, or REFUSED for what a retry would not mend: a ContractError, or a library that is missing. It is 1 for
    any other error. Errors that are not Marquee's own print their traceback before the cause.
    """
    try:
        work()
    except (ContractError, RunError) as error:
        return _fail(command, cause(error), REFUSED if isinstance(error, ContractError) else 1)
    except Exception as error:
        traceback.print_exc()
        return _fail(command, cause(error), REFUSED if _is_missing(error) else 1)
    return 0


def cause(error: Exception) -> str:
    """Why an error was raised, in one sentence and without passwords: of Java's exceptions the innermost."""
    if isinstance(error, ContractError | RunError):
        return without_password(str(error))
    text = str(error)
    if any(full in text for full in _FULL):
        return _DISK_IS_FULL
    causes = _JAVA.findall(text)
    line = causes[-1] if causes else next(iter(text.splitlines()), "no message")
    sentence = without_password(line if causes else f"{type(error).__name__}: {line}")
    if text == _NO_CLASS:
        sentence = f"Java has no such class: {traceback.extract_tb(error.__traceback__)[-1].line}"
    return f"{sentence}: {_IS_MISSING}" if _is_missing(error) else sentence


def _is_missing(error: Exception) -> bool:
    return isinstance(error, ImportError) or bool(_MISSING.search(str(error)))


def _fail(command: str, message: str, status: int) -> int:
    print(f"{command}: {message}", file=sys.stderr, flush=True)
    emit("failed", command=command, message=message, status=status)
    return status
