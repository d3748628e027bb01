"""Reads the output of `airflow dags test`, keeps all of it in a file and prints what a person wants to see of it.

    airflow dags test artwork_nightly 2026-01-14 2>&1 | python scripts/follow.py night.log

That is: each task as it starts, what each step counted, how the scoring goes, and why a task failed.
"""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from pathlib import Path

from rich.console import Console

_EVENT = re.compile(r"^\S+Z \[\w+ *\] (?P<message>.*?) +\[(?P<logger>[\w. ]+)\](?: \w+=.*)?$")
_START = re.compile(r"\[DAG TEST\] starting task_id=(?P<task>\w+) map_index=(?P<index>-?\d+)")
_STATE = re.compile(r"new_state=(?P<state>failed|up_for_retry)")
_TOLD = re.compile(
    r"^(\d\d:\d\d:\d\d scored |marquee \w+: |(validate|candidates|contexts|score_\d+|audit|publish): "
    r"|(examples|sft|dpo|promoted|refused): |(sft|dpo) +\d+/\d+ |(estimator|dr) +\S+ )"
)
# What Ivy found, a hundred lines a task, and what every task says at its start.
_NOISE = re.compile(
    r"^(found |confs:|::|\||-----|\d+ artifacts|Ivy Default|The jars for|[\w.-]+#[\w.-]+[; ]|[\w.-]+#.* added as)"
    r"|^(Spark-Submit cmd:|WARNING: Using incubator|Running command:|Tmp dir root|Output:)"
)
_LINES_OF_A_FAILURE = 15


class Follower:
    """What has been read of one run: the task that runs, and the last lines that it wrote itself."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.task = ""
        self.own_lines: deque[str] = deque(maxlen=_LINES_OF_A_FAILURE)

    def read(self, line: str) -> None:
        if started := _START.search(line):
            self._begin(started["task"], int(started["index"]))
        elif state := _STATE.search(line):
            self._fail(state["state"])
        elif (event := _EVENT.match(line)) and event["logger"].endswith(("SparkSubmitHook", "SubprocessHook")):
            self._hear(event["message"].rstrip())

    def _begin(self, task: str, index: int) -> None:
        self.task = task if index < 0 else f"{task} {index}"
        self.own_lines.clear()
        self._print(f"[bold]{self.task}[/bold]")

    def _hear(self, message: str) -> None:
        if _NOISE.search(message):
            return
        self.own_lines.append(message)
        if _TOLD.match(message):
            self.console.print("          " + message, markup=False, highlight=False)

    def _fail(self, state: str) -> None:
        again = "; it will be tried again" if state == "up_for_retry" else ""
        self._print(f"[bold red]{self.task} failed[/bold red]{again}. Its last lines:")
        for own in self.own_lines:
            self.console.print("          " + own, markup=False, highlight=False)

    def _print(self, text: str) -> None:
        self.console.print(f"{time.strftime('%H:%M:%S')}  {text}", highlight=False)


def main(log: Path) -> None:
    follower = Follower(Console(soft_wrap=True))
    last = ""
    with log.open("w") as kept:
        for line in sys.stdin:
            kept.write(line)
            kept.flush()
            follower.read(line)
            last = line.strip() or last
    # What ended before any task began (a DAG that does not parse, say) has only this to say.
    if not follower.task:
        print(last, file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
