"""A command of this repository as its own process, to be run to its end or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SECONDS_BETWEEN_LOOKS = 0.002


@dataclass(frozen=True)
class Command:
    """`name` is its name in messages; its output is appended to `log`, `environment` is added to this process's."""

    name: str
    arguments: list[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def finish(self) -> float:
        """Run it to its end and return its seconds. Raises SystemExit if it fails."""
        began = time.monotonic()
        status = self._start().wait()
        if status:
            raise SystemExit(f"{self.name} ended with {status}: see {self.log}")
        return time.monotonic() - began

    def kill(self, when: Callable[[], bool]) -> bool:
        """Start it and kill it with all its children (SIGKILL) as soon as `when` is true. False if it ended before.
        Raises SystemExit if it fails.
        """
        process = self._start()
        while process.poll() is None and not when():
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if process.poll():
            raise SystemExit(f"{self.name} ended with {process.returncode}: see {self.log}")
        if process.returncode == 0:
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.arguments,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                # Its own process group: killing it reaches its JVM, but not this process.
                start_new_session=True,
            )
