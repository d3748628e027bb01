"""One GPU per process: real processes and real locks, with a given list of GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inference.devices import VISIBLE, visible_devices
from tests.processes import ROOT

TAKE = """
import multiprocessing, os, sys, time
from inference.progress import log_to_stderr
from inference.devices import take_gpu
log_to_stderr()
print(take_gpu(), take_gpu(), os.environ.get("CUDA_VISIBLE_DEVICES"), "torch" in sys.modules, flush=True)
# As vLLM starts its engine.
multiprocessing.get_context("fork").Process(target=time.sleep, args=[600], daemon=True).start()
print("forked", flush=True)
sys.stdin.read()
"""


class Taker:
    """A process that takes a GPU of `visible` and keeps it until it is stopped."""

    def __init__(self, visible: str, folder: Path) -> None:
        self.log = folder / "takers.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", TAKE],
                cwd=ROOT,
                env={**os.environ, VISIBLE: visible, "TMPDIR": str(folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def took(self) -> str:
        """Wait until it has taken a GPU and return its line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait()


def test_each_process_takes_a_gpu_of_its_own_and_one_that_is_killed_gives_it_back(tmp_path: Path) -> None:
    takers = [Taker("4,7", tmp_path)]
    try:
        assert takers[0].took() == "4 4 4 False"
        takers.append(Taker("4,7", tmp_path))
        assert takers[1].took() == "7 7 7 False"
        takers.append(Taker("4,7", tmp_path))
        while "no GPU of 4, 7 is free: waiting, 0 s so far" not in takers[2].log.read_text():
            assert takers[2].process.poll() is None
        takers[0].stop(signal.SIGKILL)
        assert takers[2].took() == "4 4 4 False"
        assert takers[2].log.read_text().count("using GPU 4 of 4, 7") == 2
    finally:
        for taker in takers:
            taker.stop()


def test_processes_that_start_together_take_different_gpus(tmp_path: Path) -> None:
    takers = [Taker("0,1,2,3", tmp_path) for _ in range(4)]
    try:
        assert sorted(taker.took().split()[0] for taker in takers) == ["0", "1", "2", "3"]
    finally:
        for taker in takers:
            taker.stop()


@pytest.mark.parametrize("visible", ["", "-1"])
def test_where_no_gpu_is_visible_none_is_taken(visible: str, tmp_path: Path) -> None:
    taker = Taker(visible, tmp_path)
    try:
        assert taker.took() == f"None None {visible} False"
        assert not list(tmp_path.glob("*.lock"))
    finally:
        taker.stop()


def test_the_gpus_are_those_listed_or_those_of_the_machine(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_devices(None, tmp_path) == ["0", "1"]
    assert visible_devices("1, 3", tmp_path) == ["1", "3"]
    assert visible_devices("GPU-5f,2,-1,3", tmp_path) == ["GPU-5f", "2"]
    assert visible_devices(None, tmp_path / "nothing") == []
