"""Small files beside tables, in a folder or an object store. For stores by obstore, which uses the code and reads the
variables of delta-rs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from io import SEEK_SET, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from schemas.contract import ContractError
from schemas.exit_codes import RunError
from schemas.paths import is_uri

if TYPE_CHECKING:
    from obstore import ReadableFile
    from obstore.store import ObjectStore

_AT_ONCE = 4
# Of small objects, whose writing is mostly waiting for the store.
_SMALL_AT_ONCE = 32
_PART = 8 * 2**20


def read_file(place: str | Path, name: str) -> bytes | None:
    """The content of the file `name` below `place`; None if there is none."""
    if not is_uri(str(place)):
        file = Path(place, name)
        return file.read_bytes() if file.is_file() else None
    with _store(str(place)) as store:
        try:
            return bytes(store.get(name).bytes())
        except FileNotFoundError:
            return None


def has_file(place: str | Path, name: str) -> bool:
    if not is_uri(str(place)):
        return Path(place, name).is_file()
    with _store(str(place)) as store:
        try:
            store.head(name)
        except FileNotFoundError:
            return False
        return True


def write_file(place: str | Path, name: str, content: bytes) -> None:
    """Write a file, and the folders that it needs."""
    if not is_uri(str(place)):
        Path(place, name).parent.mkdir(parents=True, exist_ok=True)
        Path(place, name).write_bytes(content)
        return
    with _store(str(place)) as store:
        store.put(name, content)


def write_files(place: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write small files, given as names and contents; to a store several at once."""
    if not is_uri(place):
        for name, content in files:
            write_file(place, name, content)
        return
    with _store(place) as store, ThreadPoolExecutor(_SMALL_AT_ONCE) as pool:
        for _ in pool.map(lambda file: store.put(*file), files):
            pass


def names_below(uri: str) -> Iterator[str]:
    """The names of all objects below a URI, relative to it, sorted as the store sorts them."""
    yield from (name for name, _ in files_below(uri))


def files_below(place: str) -> Iterator[tuple[str, datetime]]:
    """The names of all files below `place`, relative to it, and when each was written."""
    if not is_uri(place):
        for path in sorted(path for path in Path(place).rglob("*") if path.is_file()):
            yield str(path.relative_to(place)), datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return
    with _store(place) as store:
        for batch in store.list():
            yield from ((_below(place, each["path"]), each["last_modified"]) for each in batch)


class _Object(RawIOBase):
    """An object of a store, for reading at any position. PyArrow asks for more than obstore's own reader has."""

    def __init__(self, reader: ReadableFile) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readinto(self, buffer: Any) -> int:
        found = self._reader.read(len(buffer))
        buffer[: len(found)] = memoryview(found)
        return len(found)


@contextmanager
def open_file(place: str, name: str) -> Iterator[BinaryIO | RawIOBase]:
    """The file `name` below `place`, which must exist, for reading at any position."""
    if not is_uri(place):
        with Path(place, name).open("rb") as file:
            yield file
        return
    from obstore import open_reader

    with _store(place) as store:
        yield _Object(open_reader(store, name))


def remove(place: str, names: Iterable[str]) -> None:
    """Remove files. One that does not exist is no error."""
    if not is_uri(place):
        for name in names:
            Path(place, name).unlink(missing_ok=True)
        return
    with _store(place) as store:
        if found := list(names):
            store.delete(found)


def download(uri: str, names: Iterable[str], folder: Path) -> None:
    """Copy objects to a folder, several at once and in parts: they may be larger than memory."""

    def copy(name: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            for part in store.get(name).stream(min_chunk_size=_PART):
                file.write(part)

    with _store(uri) as store, ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(copy, names))


def upload(folder: Path, names: Iterable[str], uri: str) -> None:
    """Copy files of a folder to a URI, one after the other."""
    with _store(uri) as store:
        for name in names:
            store.put(name, folder / name)


@cache
def check_conditions(warehouse: str) -> None:
    """Check, once per process, that an object store refuses to create an object that exists: of two writers that commit
    at the same time to one that does not, one loses its commit without an error.

    Raises ContractError if it does not refuse. Nothing is checked in a folder.
    """
    if not is_uri(warehouse):
        return
    from obstore.exceptions import AlreadyExistsError

    name = f".marquee-probe-{uuid4().hex}"
    with _store(warehouse) as store:
        store.put(name, b"", mode="create")
        try:
            store.put(name, b"", mode="create")
        except AlreadyExistsError:
            return
        finally:
            store.delete(name)
    raise ContractError(
        f"{warehouse}: the store replaced an object that a request with If-None-Match: * may only create, so writers "
        "at the same time would lose commits; use a store with conditional writes, such as S3 itself or MinIO"
    )


@contextmanager
def _store(uri: str) -> Iterator[ObjectStore]:
    """The objects below a URI. An error of the store is raised in one sentence: as ContractError if the bucket or the
    permission is missing, else as RunError.
    """
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
    from obstore.store import from_url

    try:
        yield from_url(uri)
    except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError) as error:
        raise ContractError(f"{uri}: the object store refused: {_first_line(error)}") from error
    except BaseError as error:
        raise RunError(f"{uri}: the object store failed: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")


def _below(uri: str, path: str) -> str:
    """An object's path in its bucket as its name below `uri`."""
    prefix = uri.partition("://")[2].partition("/")[2]
    return path.removeprefix(f"{prefix}/") if prefix else path
