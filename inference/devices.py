"""A GPU for this process alone: of those that it may see, the first that no other process of Marquee has taken.

Each GPU has a lock file in the machine's folder for temporary files. The kernel releases a lock when the process dies,
however it dies. vLLM's own process dies with the process group, as Airflow ends a task.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

log = logging.getLogger("marquee.gpu")

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS_BETWEEN_TRIES = 1.0
_SECONDS_BETWEEN_LINES = 600.0


@cache
def take_gpu() -> str | None:
    """Take a free GPU for as long as this process lives, and let CUDA see no other; its name, or None where the machine
    has none. Waits for one where all are taken. To be called before torch or vLLM is imported; a second call changes
    nothing.
    """
    devices = visible_devices(os.environ.get(VISIBLE), Path("/dev"))
    if not devices:
        return None
    taken = take_free(devices, Path(tempfile.gettempdir()))
    os.environ[VISIBLE] = taken
    return taken


def visible_devices(listed: str | None, dev: Path) -> list[str]:
    """The GPUs that a process may use: those `listed` in CUDA_VISIBLE_DEVICES, or all that have a device in `dev`."""
    if listed is not None:
        # As CUDA reads it: what follows a -1 is hidden.
        return [name for name in listed.partition("-1")[0].replace(" ", "").split(",") if name]
    return [str(place) for place in range(len(list(dev.glob("nvidia[0-9]*"))))]


def take_free(devices: Sequence[str], folder: Path) -> str:
    """Lock the first of `devices` that is free, or else the one that is free first; its lock is in `folder`."""
    waiting_since = logged_at = None
    while True:
        for device in devices:
            if _lock(folder / f"marquee-gpu-{device}.lock"):
                log.info("takes GPU %s of %s", device, ", ".join(devices))
                return device
        now = time.monotonic()
        waiting_since = waiting_since or now
        if logged_at is None or now - logged_at >= _SECONDS_BETWEEN_LINES:
            logged_at = now
            log.info("no GPU of %s is free: waits for one, %.0f s so far", ", ".join(devices), now - waiting_since)
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _lock(file: Path) -> bool:
    """Whether the lock was free; it is this process's then, until it ends."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        # Not at once: in a folder such as /tmp the kernel lets nobody create what another user's file is.
        descriptor = os.open(file, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
