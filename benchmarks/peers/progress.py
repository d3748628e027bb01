"""How far an engine is, told in a file, so that it is known what was computed by a process that was killed.

`count_answers` is a plugin of vLLM: vLLM calls it in every process that starts an engine, whoever started the process.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_COUNTS = struct.Struct("3q")
_VARIABLE = "WATCHED_PROGRESS"


@dataclass(frozen=True)
class Counts:
    """What the engines of a side have answered, and the process that was answered last (0: none yet)."""

    pairs: int = 0
    computed_tokens: int = 0
    process: int = 0


def new_progress(file: Path) -> None:
    file.write_bytes(_COUNTS.pack(0, 0, 0))


def read_progress(file: Path) -> Counts:
    return Counts(*_COUNTS.unpack(file.read_bytes()))


def tell_progress(file: Path) -> None:
    """From now on, any engine of this process or of one that it starts counts in `file`, which `new_progress` made."""
    about = file.with_name("watched.dist-info")
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: watched\nVersion: 0\n")
    (about / "entry_points.txt").write_text(f"[vllm.general_plugins]\nwatched = {__name__}:{count_answers.__name__}\n")
    sys.path.append(str(file.parent))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(file.parent))))
    os.environ[_VARIABLE] = str(file)


def count_answers() -> None:
    """Count what this process is answered by its engine."""
    from vllm.outputs import RequestOutput

    with Path(os.environ[_VARIABLE]).open("r+b") as opened:
        # Shared memory outlives a process that is killed.
        shared = mmap.mmap(opened.fileno(), _COUNTS.size)
    made = RequestOutput.__init__

    def counted(output: RequestOutput, *arguments: Any, **named: Any) -> None:
        made(output, *arguments, **named)
        if output.finished:
            pairs, computed, _ = _COUNTS.unpack(shared[:])
            more = len(output.prompt_token_ids or ()) - (output.num_cached_tokens or 0)
            shared[:] = _COUNTS.pack(pairs + 1, computed + more, os.getpid())

    RequestOutput.__init__ = counted  # type: ignore[method-assign,assignment]
