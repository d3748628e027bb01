"""Progress of the engine's work: a bar on a terminal, plain lines in a scheduler's log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.events import emit

log = logging.getLogger("marquee.score")
_SECONDS_BETWEEN_LINES = 10.0
_SHARE_WITHOUT_RATE = 0.02


def log_to_stderr() -> None:
    """Log Marquee at INFO, libraries at WARNING."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("marquee").setLevel(logging.INFO)


class ScoringProgress:
    """Pairs done of `total`, pairs per second, the share of prompt tokens found in the cache, and the time left.

    `words` are the verb's two forms and its object: ("scoring", "scored", "pairs").
    """

    def __init__(self, total: int, words: tuple[str, str, str] = ("scoring", "scored", "pairs")) -> None:
        self._total = total
        doing, self._did, self._what = words
        self._done = self._prompt_tokens = self._cached_tokens = 0
        self._began = self._logged = time.monotonic()
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{{task.fields[rate]:,.0f}} {self._what}/s, {{task.fields[cached]:.0%}} of tokens cached"),
            TimeRemainingColumn(),
            console=console,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=total, rate=0.0, cached=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def add(self, pairs: int, prompt_tokens: int = 0, cached_tokens: int = 0) -> None:
        self._done += pairs
        self._prompt_tokens += prompt_tokens
        self._cached_tokens += cached_tokens
        if not self._bar.disable:
            self._bar.update(self._task, completed=self._done, rate=self._rate, cached=self._cached_share)
        elif time.monotonic() - self._logged >= _SECONDS_BETWEEN_LINES:
            self._logged = time.monotonic()
            self.log()

    def log(self) -> None:
        """Log the progress and emit it as an event."""
        log.info(self.line())
        emit("progress", message=self.line(), done=self._done, total=self._total, cached_share=self._cached_share)

    def line(self) -> str:
        done = self._done / max(self._total, 1)
        line = f"{self._did} {self._done:,} of {self._total:,} {self._what} ({done:.0%})"
        # The engine's first steps compile: their rate says nothing of the rest.
        if done < _SHARE_WITHOUT_RATE:
            return line
        left = (self._total - self._done) / self._rate if self._done else 0
        return (
            f"{line}, {self._rate:,.0f} {self._what}/s, {self._cached_share:.0%} of prompt tokens cached, "
            f"{left:,.0f} s left"
        )

    @property
    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._began, 1e-9)

    @property
    def _cached_share(self) -> float:
        return self._cached_tokens / max(self._prompt_tokens, 1)
