"""Checkpoints in an object store. An engine and a trainer need files: a checkpoint is fetched to the cache of this
machine, once for all its tasks, and one that is being trained is made there and copied to the store when it is done.
When a new one comes, those that no task has used for a month are removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.contract import ContractError
from schemas.files import download, has_file, names_below, read_file, upload
from schemas.settings import settings

_UNUSED_SECONDS = 30 * 86_400


def fetched(uri: str, manifest: str, check: Callable[[Path], object]) -> Path:
    """The folder of this machine with the checkpoint at `uri`. Tasks that start together wait for one of them to fetch.

    `manifest` names the file whose content decides whether a fetched copy is that checkpoint; `check` raises
    ContractError if the copy is not whole. Raises ContractError if there is no such file.
    """
    content = read_file(uri, manifest)
    if content is None:
        raise ContractError(
            f"{uri}/{manifest}: the file is missing; write it in a folder (marquee models manifest), and copy that "
            "folder to the store"
        )
    copy = _folder_of("checkpoints", uri.encode() + b"\0" + content)
    with _locked(copy):
        if not copy.exists():
            with tempfile.TemporaryDirectory(dir=copy.parent) as part:
                download(uri, _names(uri), Path(part, "copy"))
                check(Path(part, "copy"))
                # Renamed when complete, so that a killed task leaves no half of it.
                Path(part, "copy").rename(copy)
            _remove_unused(copy.parent)
    return copy


def working_folder(uri: str, manifest: str, record: str) -> Path:
    """The folder of this machine in which the checkpoint for `uri` is made, with what the store has if it is done.

    `record` is the file, of those in folders below, that belongs to it.
    """
    folder = _folder_of("training", uri.encode())
    with _locked(folder):
        _remove_unused(folder.parent)
        if has_file(uri, manifest) and not (folder / manifest).exists():
            # The manifest last: it says that the rest is there.
            download(uri, [*(name for name in _names(uri) if name != manifest), record], folder)
            download(uri, [manifest], folder)
    return folder


def keep(folder: Path, uri: str, manifest: str, record: str) -> None:
    """Copy a complete checkpoint to the store, the manifest last; nothing if the store has it."""
    if has_file(uri, manifest):
        return
    names = [file.name for file in sorted(folder.iterdir()) if file.is_file() and file.name != manifest]
    upload(folder, [*names, record, manifest], uri)


def _remove_unused(folders: Path) -> None:
    """Remove the folders that were last locked, which every use begins with, a month ago or earlier."""
    for lock in folders.glob("*.lock"):
        with lock.open() as held, suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The lock's own file stays: a task may be waiting for it.
            if time.time() - lock.stat().st_mtime > _UNUSED_SECONDS:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)


def _names(uri: str) -> list[str]:
    """The files of a checkpoint: none is in a folder below."""
    return [name for name in names_below(uri) if "/" not in name]


def _folder_of(kind: str, key: bytes) -> Path:
    return Path(settings().cache, kind, hashlib.sha256(key).hexdigest()[:16])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process of this machine at a time. The kernel ends the lock of a killed one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(lock.fileno())
        yield
