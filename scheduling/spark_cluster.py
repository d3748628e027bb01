"""A Spark standalone cluster of two workers on this machine, to check that a night on a cluster gives the same tables.

marquee spark-cluster marquee night --warehouse /tmp/on-a-cluster
marquee night --warehouse /tmp/local
marquee fingerprint --warehouse /tmp/local --other /tmp/on-a-cluster
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from scheduling.local import ROOT, environment, running
from schemas.exit_codes import RunError

HOST, PORT, PAGE = "127.0.0.1", 7077, 7078
WORKERS = 2
_SECONDS_TO_START = 60


def run_on_cluster(command: Sequence[str]) -> int:
    """Run a command with a cluster as Airflow's connection spark_default; return its exit status.

    Raises RunError if the cluster does not start.
    """
    kept = ROOT / ".cache" / "cluster"
    kept.mkdir(parents=True, exist_ok=True)
    connection = json.dumps({"conn_type": "spark", "host": f"spark://{HOST}", "port": PORT})
    env = environment()
    with ExitStack() as daemons:
        address = ["--host", HOST, "--webui-port"]
        daemons.enter_context(_daemon("master", kept, env, ["Master", *address, str(PAGE), "--port", str(PORT)]))
        for number in range(1, WORKERS + 1):
            size = ["--cores", "1", "--memory", "2g", "--work-dir", str(kept / f"worker-{number}")]
            worker = ["Worker", *address, "0", *size, f"spark://{HOST}:{PORT}"]
            daemons.enter_context(_daemon(f"worker-{number}", kept, env, worker))
        _wait_for_workers(kept)
        print(f"spark_default: spark://{HOST}:{PORT}, {WORKERS} workers; page: http://{HOST}:{PAGE}", flush=True)
        try:
            with running(command, {**env, "AIRFLOW_CONN_SPARK_DEFAULT": connection}) as process:
                return process.wait()
        finally:
            # Each executor of each step has copied all JARs; its logs stay.
            for jar in kept.glob("worker-*/*/*/*.jar"):
                jar.unlink()


@contextmanager
def _daemon(name: str, kept: Path, env: Mapping[str, str], command: list[str]) -> Iterator[None]:
    kind, *arguments = command
    started = ["spark-class", f"org.apache.spark.deploy.{kind.lower()}.{kind}", *arguments]
    with (kept / f"{name}.log").open("wb") as log, running(started, {**env, "SPARK_DAEMON_MEMORY": "512m"}, log):
        yield


def _wait_for_workers(kept: Path) -> None:
    # A proxy from the environment cannot reach this machine.
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        try:
            with opener.open(f"http://{HOST}:{PAGE}/json/", timeout=5) as page:
                if json.load(page)["aliveworkers"] == WORKERS:
                    return
        except OSError:
            pass
        time.sleep(1)
    raise RunError(f"the workers did not register with spark://{HOST}:{PORT}; see {kept}/*.log")
