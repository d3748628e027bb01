"""The JARs that Spark needs beyond its own, and its options for reading and writing tables in S3."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.paths import is_in_s3
from schemas.settings import Settings

# For the Hadoop that PySpark brings, with the version of the AWS SDK that this Hadoop was built with.
_HADOOP, _SDK = "3.5.0", "2.35.4"
S3_PACKAGES = ",".join(
    (
        f"org.apache.hadoop:hadoop-aws:{_HADOOP}",
        *(f"software.amazon.awssdk:{module}:{_SDK}" for module in ("s3", "s3-transfer-manager", "sts")),
    )
)
# `bundle` is the whole AWS SDK, 686 MB; Spark has its own Hadoop.
_EXCLUDED = "software.amazon.awssdk:bundle,org.apache.hadoop:hadoop-client-api,org.apache.hadoop:hadoop-client-runtime"
LOG_STORE = "marquee.ConditionalPutLogStore"
"""The class in spark_jobs/java with which Delta commits to S3."""


def jar_options(settings: Settings) -> dict[str, str]:
    """Spark's options for its JARs: those in the folder of the settings or, without one, packages to fetch."""
    if settings.spark_jars is not None:
        return {"spark.jars": ",".join(map(str, sorted(Path(settings.spark_jars).glob("*.jar"))))}
    packages = [settings.spark_packages, *([S3_PACKAGES] if is_in_s3(settings.warehouse) else [])]
    return {"spark.jars.packages": ",".join(packages), "spark.jars.excludes": _EXCLUDED}


def store_options(settings: Settings) -> dict[str, str]:
    """Spark's options for a warehouse in S3, from the variables that the AWS SDKs and delta-rs read.

    Spark itself reads AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
    """
    if not is_in_s3(settings.warehouse):
        return {}
    options = {
        # Hadoop calls it s3a, everybody else s3.
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
        "spark.delta.logStore.s3.impl": LOG_STORE,
        "spark.delta.logStore.s3a.impl": LOG_STORE,
    }
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        options["spark.hadoop.fs.s3a.endpoint.region"] = region
    if "AWS_ENDPOINT_URL" in os.environ:
        # As delta-rs does; few servers of one's own have a host name per bucket.
        options["spark.hadoop.fs.s3a.path.style.access"] = "true"
    return options
