"""What a lookup reads, as the kernel sees it: the files of a table that are opened, and the bytes read."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Of <sys/inotify.h>.
_IN_OPEN, _IN_ISDIR = 0x20, 0x40000000
_EVENT = struct.Struct("iIII")
_MOST_BYTES = 2**20


class OpenedFiles:
    """Which files below a folder any process opens, by inotify. Folders made later are not watched."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = libc.inotify_init1(os.O_NONBLOCK)
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        self._folders = {libc.inotify_add_watch(self._inotify, os.fsencode(each), _IN_OPEN): each for each in folders}
        if self._inotify < 0 or min(self._folders) < 0:
            raise OSError(ctypes.get_errno(), f"{folder} cannot be watched by inotify")

    def take(self) -> set[Path]:
        """The files opened since the last call."""
        opened: set[Path] = set()
        with suppress(BlockingIOError):
            while events := os.read(self._inotify, _MOST_BYTES):
                opened |= set(self._files(events))
        return opened

    def _files(self, events: bytes) -> Iterator[Path]:
        at = 0
        while at < len(events):
            watch, mask, _, length = _EVENT.unpack_from(events, at)
            name = events[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            if name and not mask & _IN_ISDIR:
                yield self._folders[watch] / os.fsdecode(name)

    def close(self) -> None:
        os.close(self._inotify)


def bytes_read() -> int:
    """Bytes that this process and its children (Spark's JVM) have read so far, but for what is mapped into memory."""
    return sum(_characters_read(process) for process in _family(os.getpid()))


def _family(process: int) -> Iterator[int]:
    yield process
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))


def _characters_read(process: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/io").read_text().splitlines():
            if line.startswith("rchar:"):
                return int(line.split()[1])
    return 0
