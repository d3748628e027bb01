"""What Spark loads and is given for a warehouse in S3, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.contract import ContractError
from schemas.jars import LOG_STORE, jar_options, store_options
from schemas.settings import Settings
from spark_jobs.log_store import compile_log_store

IN_S3 = Settings(warehouse="s3a://bucket/warehouse/")


def test_a_warehouse_has_one_address_whatever_hadoop_calls_its_scheme() -> None:
    assert IN_S3.warehouse == "s3://bucket/warehouse"
    assert IN_S3.checkpoints == "s3://bucket/warehouse/checkpoints"
    assert IN_S3.registry is None


def test_the_modules_of_the_aws_sdk_are_fetched_for_s3_only() -> None:
    assert "hadoop-aws" in jar_options(IN_S3)["spark.jars.packages"]
    assert "bundle" not in jar_options(IN_S3)["spark.jars.packages"]
    assert "bundle" in jar_options(IN_S3)["spark.jars.excludes"]
    assert jar_options(Settings(warehouse="/w"))["spark.jars.packages"] == Settings().spark_packages
    assert store_options(Settings(warehouse="/w")) == {}


def test_jars_in_a_folder_are_taken_instead_of_packages(tmp_path: Path) -> None:
    for name in ("b.jar", "a.jar", "notes.txt"):
        (tmp_path / name).touch()
    found = jar_options(Settings(warehouse=IN_S3.warehouse, spark_jars=str(tmp_path)))
    assert found == {"spark.jars": f"{tmp_path}/a.jar,{tmp_path}/b.jar"}


def test_region_and_endpoint_of_the_aws_sdks_reach_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    options = store_options(IN_S3)
    assert options["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert {options["spark.delta.logStore.s3.impl"], options["spark.delta.logStore.s3a.impl"]} == {LOG_STORE}
    # Of S3 itself, a bucket is a host name.
    assert "spark.hadoop.fs.s3a.path.style.access" not in options
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    assert store_options(IN_S3)["spark.hadoop.fs.s3a.path.style.access"] == "true"


def test_a_java_without_a_compiler_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ContractError, match=r"^a warehouse in S3 needs a JDK, .* \(.*javac\): install one .*JAVA_HOME to it$"
    ):
        compile_log_store(tmp_path / "bin" / "javac", [], tmp_path / "store.jar")
    assert list(tmp_path.iterdir()) == []
