"""Compiles java/ConditionalPutLogStore.java and adds it to a running Spark. With it, Delta commits to S3 by conditional
put, as delta-rs does, so that any number of writers may commit at once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from pyspark.sql import SparkSession

from schemas.contract import ContractError
from schemas.exit_codes import RunError
from schemas.settings import settings

_SOURCE = Path(__file__).parent / "java" / "ConditionalPutLogStore.java"
# Of the three JARs that it is compiled against.
_NEEDED = (
    "io.delta.storage.LogStore",
    "org.apache.hadoop.fs.FileSystem",
    "org.apache.hadoop.fs.s3a.RemoteFileChangedException",
)


def add_log_store(session: SparkSession) -> None:
    """Make the class known to the driver and to all executors. Compiled once per machine and version of its JARs.

    Raises ContractError if Spark's Java is no JDK.
    """
    gateway: Any = session.sparkContext._gateway  # noqa: SLF001 (PySpark has no other way to its JVM)
    loader = gateway.jvm.Thread.currentThread().getContextClassLoader()
    against = [_jar_of(gateway, loader, name) for name in _NEEDED]
    digest = hashlib.sha256("\n".join([_SOURCE.read_text(), *(Path(jar).name for jar in against)]).encode())
    jar = Path(settings().cache) / f"log-store-{digest.hexdigest()[:16]}.jar"
    if not jar.exists():
        compile_log_store(Path(gateway.jvm.System.getProperty("java.home"), "bin", "javac"), against, jar)
    # The class loader of the packages: Delta's own classes are looked up there, too.
    loader.addURL(gateway.jvm.java.io.File(str(jar)).toURI().toURL())
    context = session.sparkContext._jsc  # noqa: SLF001
    if jar.name not in context.sc().listJars().mkString(","):
        context.addJar(str(jar))


def _jar_of(gateway: Any, loader: Any, name: str) -> str:
    found = gateway.jvm.Class.forName(name, True, loader).getProtectionDomain().getCodeSource().getLocation()
    return str(gateway.jvm.java.io.File(found.toURI()).getPath())


def compile_log_store(javac: Path, against: list[str], jar: Path) -> None:
    """Compile the class against JARs. Raises ContractError if there is no compiler."""
    if not javac.exists():
        raise ContractError(
            f"a warehouse in S3 needs a JDK, and Spark's Java has no compiler ({javac}): install one (openjdk-17-jdk) "
            "and set JAVA_HOME to it"
        )
    jar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jar.parent) as folder:
        # Executors may have an older Java than the driver.
        command = [str(javac), "--release", "17", "-d", folder, "-classpath", os.pathsep.join(against), str(_SOURCE)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise RunError(f"{_SOURCE} does not compile: {done.stdout}")
        made = Path(folder, "made.jar")
        with ZipFile(made, "w") as archive:
            for each in Path(folder).rglob("*.class"):
                archive.write(each, each.relative_to(folder))
        # Renamed when complete: another process may be looking for it.
        made.rename(jar)
