"""Two threads beside the engine's: one reads ahead of it, one writes behind it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
# Seconds between checks that the consumer is alive, while the pipe is full.
_CHECK = 0.5


class _End:
    """The last item of a pipe: the error that ended the stream, or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _ClosedError(Exception):
    """The consumer has closed the pipe."""


class _Pipe(Generic[Item]):
    """A stream from one thread to another: `put` waits while the consumer is `most` items behind."""

    def __init__(self, most: int) -> None:
        self._items: queue.Queue[Item | _End] = queue.Queue(most)
        self._closed = threading.Event()

    def put(self, item: Item | _End) -> None:
        while not self._closed.is_set():
            try:
                return self._items.put(item, timeout=_CHECK)
            except queue.Full:
                continue
        raise _ClosedError

    def end(self, error: BaseException | None = None) -> None:
        """End the stream. The consumer raises `error`, if any, after the last item."""
        self.put(_End(error))

    def close(self) -> None:
        self._closed.set()

    def __iter__(self) -> Iterator[Item]:
        while not isinstance(item := self._items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error


@contextmanager
def read_ahead(items: Iterable[Item], most: int) -> Iterator[Iterator[Item]]:
    """`items`, produced in a thread of their own, up to `most` ahead of the consumer."""
    pipe: _Pipe[Item] = _Pipe(most)

    def produce() -> None:
        with suppress(_ClosedError):
            try:
                for item in items:
                    pipe.put(item)
                pipe.end()
            except _ClosedError:
                raise
            except BaseException as error:
                pipe.end(error)

    thread = threading.Thread(target=produce, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield iter(pipe)
    finally:
        pipe.close()
        thread.join()


class WriteBehind(Generic[Item]):
    """A stream that a thread of `pool` consumes with `write`."""

    def __init__(self, pool: ThreadPoolExecutor, write: Callable[[Iterator[Item]], None], most: int) -> None:
        self._pipe: _Pipe[Item] = _Pipe(most)
        self._written: Future[None] = pool.submit(self._take, write)

    def put(self, item: Item) -> None:
        try:
            self._pipe.put(item)
        except _ClosedError:
            self.wait()
            raise RuntimeError("the writing thread stopped before the stream had ended") from None

    def end(self) -> None:
        # If the pipe is closed already, `wait` raises the reason.
        with suppress(_ClosedError):
            self._pipe.end()

    def abandon(self, error: BaseException) -> None:
        """End the stream with an error, so that the writing thread does not take it for whole."""
        with suppress(_ClosedError):
            self._pipe.end(error)

    def wait(self) -> None:
        """Wait until everything is written. Raises the writing thread's error."""
        self._written.result()

    def _take(self, write: Callable[[Iterator[Item]], None]) -> None:
        try:
            write(iter(self._pipe))
        finally:
            self._pipe.close()
