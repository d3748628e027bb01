"""The one place that makes a Spark session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from py4j.protocol import Py4JJavaError, Py4JNetworkError
from pyspark import SparkConf, SparkContext, StorageLevel
from pyspark.errors import PySparkRuntimeError
from pyspark.java_gateway import launch_gateway
from pyspark.sql import DataFrame, SparkSession

from schemas.contract import ContractError
from schemas.exit_codes import RunError
from schemas.jars import jar_options, store_options
from schemas.settings import settings
from spark_jobs.log_store import add_log_store

CONFIGURATION = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.autoBroadcastJoinThreshold": "64MB",
    # Spark sends its listeners each plan as text, repeating the plans of all cached frames: hundreds of MB for the step
    # examples, and a driver out of memory.
    "spark.sql.maxPlanStringLength": "10000",
}


_FREE = "marquee.context.free"
"""In the session of a shared driver: true while no step uses it."""


def spark_session(app_name: str, **configuration: str) -> SparkSession:
    """A session that reads and writes Delta. spark-submit or the environment sets master and resources."""
    builder = SparkSession.builder.appName(app_name)
    # spark-submit has already added the packages; a plain `python` process must name them.
    in_store = store_options(settings())
    options = {**jar_options(settings()), **CONFIGURATION, **in_store, **configuration}
    for key, value in options.items():
        builder = builder.config(key, value)
    if settings().spark_driver:
        _attach(app_name, options)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("WARN")
    if in_store:
        add_log_store(session)
    return session


@contextmanager
def session_of_step(app_name: str) -> Iterator[SparkSession]:
    """`spark_session` for the block. A shared driver's context stays for the next step, with the table logs that Delta
    has read. If the step failed or was killed, its context is stopped, with any work still running.
    """
    session = spark_session(app_name)
    try:
        yield session
    except BaseException:
        session.stop()
        raise
    if settings().spark_driver and "PYSPARK_GATEWAY_PORT" in os.environ:
        session.catalog.clearCache()
        session.conf.set(_FREE, "true")
    else:
        session.stop()


def materialized(rows: DataFrame) -> DataFrame:
    """`rows`, computed on first read and kept in memory or on disk, without the plan behind them.

    `persist` keeps that plan: at every stage of a query Spark prints it for its listeners, within the plan of every
    frame that reads the rows, so frames cached on top of each other make that work grow exponentially. The price: if an
    executor is lost, the step fails, and Airflow retries it.
    """
    return rows.localCheckpoint(eager=False, storageLevel=StorageLevel.MEMORY_AND_DISK)


@contextmanager
def shared_driver(log: Path) -> Iterator[str]:
    """A JVM for the Spark steps that the block's processes run on this machine, one after another. Yields the value of
    the setting `spark_driver`. From the second step on, Delta is already loaded and compiled. The JVM prints to `log`
    and ends with the block, or with this process. Raises RunError if it does not start.
    """
    conf = SparkConf(loadDefaults=False)
    conf.setAll(list(jar_options(settings()).items()))
    conf.set("spark.ui.showConsoleProgress", "false")
    with log.open("w") as kept:
        try:
            gateway = launch_gateway(conf, {"stdout": kept, "stderr": kept})
        except PySparkRuntimeError as error:
            raise RunError(f"Spark's JVM did not start; its output is in {log}") from error
        parameters = gateway.gateway_parameters
        try:
            yield f"{parameters.port}:{parameters.auth_token}"
        finally:
            # The JVM ends when its standard input is closed.
            gateway.proc.stdin.close()
            gateway.proc.wait()


def fetch_jars(folder: Path) -> list[Path]:
    """Have Spark fetch the packages of the settings, and copy their JARs to a folder without JARs.

    Raises ContractError if it has some, for they might be of other versions.
    """
    if any(folder.glob("*.jar")):
        raise ContractError(f"{folder} has JARs already, perhaps of other versions: give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    packages = settings().model_copy(update={"spark_jars": None})
    gateway = launch_gateway(SparkConf(loadDefaults=False).setAll(list(jar_options(packages).items())))
    found = str(gateway.jvm.System.getProperty("spark.jars")).split(",")
    gateway.proc.stdin.close()
    gateway.proc.wait()
    return [Path(shutil.copy(unquote(urlsplit(jar).path), folder)) for jar in found]


def _attach(app_name: str, options: dict[str, str]) -> None:
    """Take the context that the previous step left in the shared driver, or make one. If the driver has died, this
    process starts its own.
    """
    port, _, secret = str(settings().spark_driver).partition(":")
    os.environ |= {"PYSPARK_GATEWAY_PORT": port, "PYSPARK_GATEWAY_SECRET": secret}
    try:
        gateway = launch_gateway(SparkConf(loadDefaults=False))
        left = gateway.jvm.org.apache.spark.sql.SparkSession.getDefaultSession()
    except (Py4JNetworkError, OSError):
        del os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"]
        return
    conf = SparkConf(_jvm=gateway.jvm).setAppName(app_name).setAll(list(options.items()))
    conf.setIfMissing("spark.master", "local[*]")
    if left.isDefined() and left.get().conf().get(_FREE, "false") == "true":
        left.get().conf().set(_FREE, "false")
        context = gateway.jvm.org.apache.spark.api.java.JavaSparkContext(left.get().sparkContext())
        SparkContext(conf=conf, gateway=gateway, jsc=context)
        return
    # Delta caches what it read of each table as frames of the context that read it, which is not the new one.
    gateway.jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    try:
        SparkContext(conf=conf, gateway=gateway)
    except Py4JJavaError:
        # A killed step left its context behind, with its running work.
        gateway.jvm.org.apache.spark.SparkContext.getOrCreate().stop()
        SparkContext(conf=conf, gateway=gateway)
