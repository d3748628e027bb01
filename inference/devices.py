"""A GPU for this process alone: of those that it may see, the first that no other process of Marquee has locked.

Each GPU has a lock file in the machine's temporary folder. The kernel releases the lock when the process and its forks
have died, however they die. One fork is vLLM's engine, with the GPU's memory: it must not outlive this process.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

log = logging.getLogger("marquee.gpu")

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS_BETWEEN_TRIES = 1.0
_SECONDS_BETWEEN_LINES = 600.0
_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""


@cache
def take_gpu() -> str | None:
    """Lock a free GPU for the life of this process, hide the others from CUDA and return its name; None if the machine
    has no GPU. Waits while all are locked. Call it before torch or vLLM is imported; a second call changes nothing.
    """
    devices = visible_devices(os.environ.get(VISIBLE), Path("/dev"))
    if not devices:
        return None
    taken = take_free(devices, Path(tempfile.gettempdir()))
    _end_forks_with_parent()
    os.environ[VISIBLE] = taken
    return taken


def visible_devices(listed: str | None, dev: Path) -> list[str]:
    """The GPUs that a process may use: those `listed` in CUDA_VISIBLE_DEVICES, or all that have a device in `dev`."""
    if listed is not None:
        # CUDA hides everything after a -1.
        return [name for name in listed.partition("-1")[0].replace(" ", "").split(",") if name]
    return [str(place) for place in range(len(list(dev.glob("nvidia[0-9]*"))))]


def take_free(devices: Sequence[str], folder: Path) -> str:
    """Lock the first free one of `devices`, waiting until one is free. The lock files are in `folder`."""
    waiting_since = logged_at = None
    while True:
        for device in devices:
            if _lock(folder / f"marquee-gpu-{device}.lock"):
                log.info("using GPU %s of %s", device, ", ".join(devices))
                return device
        now = time.monotonic()
        waiting_since = waiting_since or now
        if logged_at is None or now - logged_at >= _SECONDS_BETWEEN_LINES:
            logged_at = now
            log.info("no GPU of %s is free: waiting, %.0f s so far", ", ".join(devices), now - waiting_since)
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _lock(file: Path) -> bool:
    """Take the lock until this process ends; False if another process holds it."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        # Opened without O_CREAT first: in a folder such as /tmp the kernel refuses O_CREAT on another user's file.
        descriptor = os.open(file, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def _end_forks_with_parent() -> None:
    """Have the kernel kill what is forked from now on when the process that forked it dies, even if that is killed."""
    libc = ctypes.CDLL(None)
    parent = 0

    def before() -> None:
        nonlocal parent
        parent = os.getpid()

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A parent that has died already sends no signal.
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    os.register_at_fork(before=before, after_in_child=in_child)
