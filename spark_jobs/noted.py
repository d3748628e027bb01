"""What a night notes of each table that it reads: the version, and the id, because a table that was dropped and
created again counts its versions from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException

from schemas.contract import ContractError
from schemas.tables import TABLES

_FILE_GONE = re.compile(
    r"\[(?:FAILED_READ_FILE\.FILE_NOT_EXIST|DELTA_FILE_NOT_FOUND\w*)\].*?[Ff]ile (?:path )?(\S+)"
    r"|FileNotFoundException: (?:File )?(\S+)"
)
_VERSION_GONE = re.compile(r"DELTA_VERSION_NOT_FOUND|DELTA_NO_RECREATABLE_HISTORY_FOUND|DELTA_TIMESTAMP_EARLIER")


@dataclass(frozen=True)
class Noted:
    """A state of a table: its Delta version, and the id that Delta gave it when it was created (None: not noted)."""

    version: int
    table_id: str | None


def cannot_reread(table_name: str, what: str, ds: date) -> ContractError:
    """The error for a night, or a run of post-training, that can no longer read a table as noted."""
    return ContractError(
        f"{table_name}: {what} since the work on {ds} began: begin it again (step validate; of post-training: examples)"
    )


@contextmanager
def reading_as_noted(ds: date) -> Iterator[None]:
    """Raise ContractError naming the table if Spark finds that files of a version are gone: VACUUM removed them.

    Delta plans from its log, so only the task that opens a file finds this out.
    """
    try:
        yield
    except Py4JJavaError as error:
        text = str(error)
        # Java raises the same exception for a file that this user may not read.
        found = None if "Permission denied" in text else _FILE_GONE.search(text)
        path = (found[1] or found[2]) if found else ""
        table = max(TABLES, key=lambda name: path.rfind(f"/{name}/"))
        if f"/{table}/" not in path:
            raise
        raise cannot_reread(table, "files of the version that it reads were removed (VACUUM)", ds) from error


def is_version_gone(error: AnalysisException) -> bool:
    """Whether Delta reports that the log no longer has a version."""
    return bool(_VERSION_GONE.match(str(error.getCondition())))
