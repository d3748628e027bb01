"""Two threads beside the engine's: one that reads ahead of it, one that writes behind it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
# How often who waits at a full pipe looks whether anybody still takes from it, in seconds.
_LOOK = 0.5


class _End:
    """The last thing in a pipe: how the stream ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _ClosedError(Exception):
    """Nobody takes from the pipe any more."""


class _Pipe(Generic[Item]):
    """A stream from one thread to another: `put` waits while the other is `most` items behind."""

    def __init__(self, most: int) -> None:
        self._items: queue.Queue[Item | _End] = queue.Queue(most)
        self._closed = threading.Event()

    def put(self, item: Item | _End) -> None:
        while not self._closed.is_set():
            try:
                return self._items.put(item, timeout=_LOOK)
            except queue.Full:
                continue
        raise _ClosedError

    def end(self, error: BaseException | None = None) -> None:
        """End the stream; an error comes out of it where its next item would have."""
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
    """`items`, produced in a thread of their own, up to `most` ahead of who takes them."""
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
    """A stream that a thread of `pool` takes with `write`."""

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
        # Where it is closed already, `wait` tells why.
        with suppress(_ClosedError):
            self._pipe.end()

    def abandon(self, error: BaseException) -> None:
        """End the stream with an error, so that whoever writes it knows that it is not whole."""
        with suppress(_ClosedError):
            self._pipe.end(error)

    def wait(self) -> None:
        """Wait until all is written. An error of the writing thread is raised here."""
        self._written.result()

    def _take(self, write: Callable[[Iterator[Item]], None]) -> None:
        try:
            write(iter(self._pipe))
        finally:
            self._pipe.close()
