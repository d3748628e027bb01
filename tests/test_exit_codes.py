"""A command's exit status and last line."""

from __future__ import annotations

import errno
import os

import pytest

from schemas.contract import ContractError
from schemas.exit_codes import REFUSED, RunError, exit_status


def raising(error: Exception) -> int:
    def work() -> None:
        raise error

    return exit_status("publish", work)


def test_a_full_disk_is_worth_another_try_and_the_last_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    in_java = RuntimeError("An error occurred\n: java.io.IOException: No space left on device\n\tat java.lang.Thread")
    for error in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), in_java):
        assert raising(error) == 1
        printed = capsys.readouterr().err.splitlines()
        assert printed[0].startswith("Traceback")
        assert printed[-1].startswith("publish: a disk is full, that of the tables")


def test_a_refusal_is_one_sentence_and_any_other_error_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(ContractError("titles: the table is empty")) == REFUSED
    assert capsys.readouterr().err == "publish: titles: the table is empty\n"
    assert raising(RunError("the log is there")) == 1
    assert capsys.readouterr().err == "publish: the log is there\n"
    with pytest.raises(RuntimeError, match="a bug"):
        raising(RuntimeError("a bug"))
