"""Shared fixtures: an Airflow home and a Spark session for the tests, made at their first use."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.object_store import BUCKET, ObjectStore, own_store, serving

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from inference.checkpoint import Checkpoint
    from inference.engine import Engine

ROOT = Path(__file__).resolve().parent.parent

RunMarquee = Callable[..., int]
"""Type of the fixture `marquee`."""

# Airflow makes its home at its first import, by default in the user's home folder.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="marquee-airflow-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"
os.environ.setdefault("SPARK_CONF_DIR", str(ROOT / "conf" / "spark"))
os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
os.environ["PYSPARK_PYTHON"] = sys.executable
# Tests do not use the settings of the developer's shell.
for name in [name for name in os.environ if name.startswith(("MARQUEE_", "AWS_"))]:
    del os.environ[name]
# Spark's JVM takes them over when it starts, which may be long before the first test that needs the store.
os.environ.update(own_store().settings)


# Before xdist's own hook, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run quick tests first, so that a mistake shows in seconds; tests that use Spark or vLLM are slow. With several
    processes, a file's slow tests stay in one, which makes their shared fixtures once, and so do all tests with the
    engine, which takes most of a minute to start.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"spark", "engine"} & fixtures:
            item.add_marker(pytest.mark.slow)
        item.add_marker(pytest.mark.xdist_group("engine" if "engine" in fixtures else item.path.name))
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One session for all tests, with as few tasks as possible, because their tables have a handful of rows."""
    from schemas.jars import jar_options, store_options
    from schemas.settings import Settings
    from spark_jobs.log_store import add_log_store
    from spark_jobs.session import spark_session

    # Of a warehouse in the store, for the tests that have one.
    in_store = Settings(warehouse=f"s3://{BUCKET}/warehouse")
    scratch = tmp_path_factory.mktemp("spark")
    session = spark_session(
        "marquee tests",
        **{
            "spark.master": "local[2]",
            "spark.sql.shuffle.partitions": "2",
            "spark.default.parallelism": "2",
            "spark.databricks.delta.snapshotPartitions": "1",
            # VACUUM lists a table's folder with this many tasks, 10,000 by default.
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
            "spark.ui.enabled": "false",
            # Data for a UI that nobody opens would fill the memory of a session that runs a hundred thousand tasks.
            "spark.ui.retainedJobs": "10",
            "spark.ui.retainedStages": "10",
            "spark.ui.retainedTasks": "100",
            "spark.sql.ui.retainedExecutions": "10",
            # It runs long enough that the second compiler pays off.
            "spark.driver.extraJavaOptions": "-XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
            # For a handful of rows, compiling a plan takes far longer than interpreting it.
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.local.dir": str(scratch / "local"),
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            "spark.sql.session.timeZone": "UTC",
            **jar_options(in_store),
            **store_options(in_store),
        },
    )
    add_log_store(session)
    # At exit it would log closed connections to a closed stream, after pytest's last line.
    logging.getLogger("py4j").setLevel(logging.WARNING)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def store() -> Iterator[ObjectStore]:
    """An S3 server, empty except for its buckets, and one for all tests."""
    with serving(own_store()):
        yield own_store()


@pytest.fixture(autouse=True)
def _no_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clear what a test cached or set in the shared session."""
    yield
    if "spark" in request.fixturenames:
        session = request.getfixturevalue("spark")
        session.catalog.clearCache()
        for view in session.catalog.listTables():
            if view.isTemporary:
                session.catalog.dropTempView(view.name)


@pytest.fixture
def marquee() -> RunMarquee:
    """Runs a command in this process, and undoes its settings afterwards."""
    from marquee.cli import main
    from schemas.settings import settings

    def run(*arguments: str) -> int:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in os.environ.items():
                patch.setenv(name, value)
            before = set(os.environ)
            settings.cache_clear()
            try:
                return main(list(arguments))
            finally:
                settings.cache_clear()
                for name in set(os.environ) - before:
                    del os.environ[name]

    return run


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A tiny Llama with random weights."""
    from inference.checkpoint import write_manifest
    from tests.inference_data import make_checkpoint

    return write_manifest(make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "random"), "random")


@pytest.fixture(scope="session")
def engine(random_checkpoint: Checkpoint) -> Engine:
    """One vLLM engine for all tests, because starting one takes most of a minute."""
    from inference.engine import Engine
    from inference.tokens import Tokens
    from schemas.settings import Settings

    return Engine(random_checkpoint, Settings(cpu_cache_gib=1, max_num_seqs=16), Tokens(random_checkpoint).labels)
