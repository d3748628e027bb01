"""The one place that makes a Spark session."""

from __future__ import annotations

from pyspark.sql import SparkSession

from schemas.settings import settings

CONFIGURATION = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.autoBroadcastJoinThreshold": "64MB",
    # A plan as text, which Spark's listeners are told, has in it those of all frames that were kept on the way, each
    # time one is used: hundreds of MB for the step examples, and a driver out of memory.
    "spark.sql.maxPlanStringLength": "10000",
}


def spark_session(app_name: str, **configuration: str) -> SparkSession:
    """A session that reads and writes Delta. Master and resources come from spark-submit or the environment."""
    builder = SparkSession.builder.appName(app_name)
    # spark-submit has put the packages there already; a plain `python` process needs them named.
    options = {"spark.jars.packages": settings().spark_packages, **CONFIGURATION, **configuration}
    for key, value in options.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("WARN")
    return session
