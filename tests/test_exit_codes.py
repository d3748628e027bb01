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


def test_a_refusal_is_one_sentence_and_any_other_error_ends_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(ContractError("titles: the table is empty")) == REFUSED
    assert capsys.readouterr().err == "publish: titles: the table is empty\n"
    assert raising(RunError("the log is there")) == 1
    assert capsys.readouterr().err == "publish: the log is there\n"
    assert raising(RuntimeError("a bug\nin many lines")) == 1
    printed = capsys.readouterr().err.splitlines()
    assert (printed[0], printed[-1]) == ("Traceback (most recent call last):", "publish: RuntimeError: a bug")


OF_JAVA = """An error occurred while calling o47.load.
: org.apache.spark.SparkException: Job aborted due to stage failure
\tat org.apache.spark.scheduler.DAGScheduler.abortStage(DAGScheduler.scala:1)
Caused by: java.util.concurrent.ExecutionException: org.apache.spark.SparkException
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: {}
\t... 12 more"""


def test_a_class_that_py4j_takes_for_a_package_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise TypeError("'JavaPackage' object is not callable")

    assert exit_status("publish", work) == REFUSED
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("publish: Java has no such class: raise TypeError(")
    assert line.endswith("so a retry would fail too")


@pytest.mark.parametrize(
    ("error", "status", "end"),
    [
        (RuntimeError(OF_JAVA.format("java.io.EOFException: half a file")), 1, "java.io.EOFException: half a file"),
        (
            RuntimeError(OF_JAVA.format("java.lang.ClassNotFoundException: io.delta.Of")),
            REFUSED,
            "java.lang.ClassNotFoundException: io.delta.Of: a library is missing or of another version "
            "(MARQUEE_SPARK_PACKAGES, MARQUEE_SPARK_JARS, requirements/), so a retry would fail too",
        ),
        (ImportError("no vllm"), REFUSED, "ImportError: no vllm: a library is missing or of another version"),
    ],
)
def test_the_last_line_is_the_innermost_cause_and_a_missing_library_is_not_worth_a_retry(
    error: Exception, status: int, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == status
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"publish: {end}")
