"""The one place where Spark reads and writes the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from inference.champion import Chosen
from schemas import store
from schemas.contract import ContractError, Table
from schemas.erased import salt_of
from schemas.events import report
from schemas.files import check_conditions
from schemas.settings import Settings, settings
from schemas.steps import noted_step
from schemas.store import NoTableError, buckets_of, create, has_table, location, no_table, open_table, permitted
from schemas.tables import (
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    ERASED_USERS,
    INPUTS,
    MADE,
    NIGHT_INPUTS,
    NIGHT_MODELS,
    NIGHT_STEPS,
    SERVED,
    buckets_kept,
)
from spark_jobs.noted import Noted, cannot_reread, is_version_gone, reading_as_noted
from spark_jobs.session import session_of_step


@dataclass(frozen=True)
class Warehouse:
    """The tables under one URI, addressed by path."""

    spark: SparkSession
    settings: Settings

    def path(self, table: Table) -> str:
        return location(self.settings.warehouse, table)

    # delta-rs does what needs a table's log alone, in milliseconds; Spark would run jobs.

    def has(self, table: Table) -> bool:
        return has_table(self.settings.warehouse, table)

    def delta(self, table: Table) -> DeltaTable:
        return DeltaTable.forPath(self.spark, self.path(table))

    def version(self, table: Table) -> int:
        return self.state(table).version

    def state(self, table: Table) -> Noted:
        """The table's newest version, and its id."""
        opened = open_table(self.settings.warehouse, table)
        return Noted(int(opened.version()), str(opened.metadata().id))

    def read(self, table: Table) -> DataFrame:
        """The table as it is now. Raises ContractError if it does not exist."""
        if not self.has(table):
            raise no_table(self.settings.warehouse, table)
        return self.spark.read.format("delta").load(self.path(table))

    def read_as_noted(self, table: Table, noted: Noted, ds: date) -> DataFrame:
        """The table as the night ds noted it. Raises ContractError if that can no longer be read."""
        try:
            now = self.state(table)
        except NoTableError as error:
            raise cannot_reread(table.name, f"the table at {self.path(table)} was removed", ds) from error
        if noted.table_id not in (None, now.table_id):
            raise cannot_reread(table.name, f"the table at {self.path(table)} was dropped and made anew", ds)
        try:
            reader = self.spark.read.format("delta").option("versionAsOf", noted.version)
            return reader.load(self.path(table))
        except AnalysisException as error:
            if not is_version_gone(error):
                raise
            raise cannot_reread(table.name, f"its version {noted.version} was removed from the log", ds) from error

    def frame(self, table: Table, rows: list[dict[str, Any]]) -> DataFrame:
        """A few rows of a table, made on the driver. By Arrow, which needs no Python worker."""
        return self.spark.createDataFrame(pa.Table.from_pylist(rows, table.arrow_schema()), table.spark_schema())

    def without_erased(self, rows: DataFrame) -> DataFrame:
        """`rows`, which have a user_id, without those of erased users."""
        return self._of_erased(rows, "left_anti") if self.has(ERASED_USERS) else rows

    def only_erased(self, rows: DataFrame) -> DataFrame:
        """The rows that `without_erased` leaves out."""
        return self._of_erased(rows, "left_semi") if self.has(ERASED_USERS) else rows.limit(0)

    def _of_erased(self, rows: DataFrame, how: str) -> DataFrame:
        salt = salt_of(open_table(self.settings.warehouse, ERASED_USERS))
        user_hash = F.sha2(F.concat(F.lit(salt), F.col("user_id")), 256)
        return rows.join(self.read(ERASED_USERS), F.col("user_hash") == user_hash, how=how)

    def replace(self, table: Table, rows: DataFrame, **partition: object) -> None:
        """Replace one partition by `rows` in one commit: `replace(SCORES, rows, ds=ds)`.

        Without a partition they replace the whole table.
        """
        condition = " AND ".join(f"{column} = '{value}'" for column, value in partition.items()) or "true"
        (
            rows.select(*table.column_names)
            .write.format("delta")
            .mode("overwrite")
            .option("replaceWhere", condition)
            .partitionBy(*table.partitioned_by)
            .save(self.path(table))
        )

    def buckets(self, table: Table = ARTWORK_SELECTIONS) -> int:
        """The number of buckets that this warehouse was created with."""
        return buckets_of(open_table(self.settings.warehouse, table), table)

    def create_missing(self, tables: Iterable[Table] = (*MADE, *SERVED)) -> None:
        """Create those of `tables` that do not exist, and hold the others to the contract (`store.create`); by default
        those of a night. Raises ContractError naming every fault.
        """
        faults = []
        for table in tables:
            kept = buckets_kept(table, self.settings.buckets)
            try:
                unknown = create(self.settings.warehouse, table, **self._retention(), **kept)
            except ContractError as error:
                faults.append(str(error))
            else:
                if unknown:
                    report(table.name, f"left alone, as the contract does not know them: {', '.join(unknown)}")
        if faults:
            raise ContractError("\n".join(faults))

    def keep_versions(self, table: Table) -> None:
        """Set how long a table's old versions are kept to the present setting, whatever it was created with."""
        wanted = self._retention()
        had = open_table(self.settings.warehouse, table).metadata().configuration
        if any(had.get(name) != value for name, value in wanted.items()):
            # By Spark: delta-rs cannot write to a table with deletion vectors.
            properties = ", ".join(f"'{name}' = '{value}'" for name, value in wanted.items())
            self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` SET TBLPROPERTIES ({properties})")

    def _retention(self) -> dict[str, str]:
        kept = f"interval {self.settings.retention_days} days"
        return {"delta.deletedFileRetentionDuration": kept, "delta.logRetentionDuration": kept}


@contextmanager
def open_warehouse(name: str) -> Iterator[Warehouse]:
    """The warehouse of the settings, in a Spark session for the block (`session_of_step`)."""
    # Read before a JVM starts, so that errors in the settings are reported first.
    config = settings()
    check_conditions(config.warehouse)
    with session_of_step(name) as spark, permitted(warehouse=config.warehouse):
        yield Warehouse(spark, config)


@dataclass
class Night:
    """One night of a warehouse: its date, and its inputs as noted when it began."""

    warehouse: Warehouse
    ds: date
    _noted: dict[str, Noted] | None = None

    @property
    def spark(self) -> SparkSession:
        return self.warehouse.spark

    @property
    def settings(self) -> Settings:
        return self.warehouse.settings

    def read_as_of_now(self) -> dict[str, Noted]:
        """Read inputs at their present versions, and return these. Writes nothing: for a job of one step."""
        read = [table for table in (*INPUTS, ARTWORK_SELECTIONS, ARTWORK_SELECTION_LOG) if self.warehouse.has(table)]
        self._noted = {table.name: self.warehouse.state(table) for table in read}
        return self._noted

    def note_inputs(self) -> None:
        """Note version and id of each table that this night reads; every later step reads exactly these."""
        noted = [
            {"ds": self.ds, "source_table": name, "version": noted.version, "table_id": noted.table_id}
            for name, noted in self.read_as_of_now().items()
        ]
        self.replace_rows(NIGHT_INPUTS, noted)

    def noted(self) -> dict[str, Noted]:
        """What `note_inputs` noted, by table name. Raises ContractError if it noted nothing."""
        if self._noted is None:
            noted = self.rows(NIGHT_INPUTS)
            if not noted:
                raise ContractError(f"night_inputs: nothing noted for ds={self.ds}; run the step validate first")
            # A night that began under an earlier version of Marquee noted no ids.
            self._noted = {row["source_table"]: Noted(row["version"], row.get("table_id")) for row in noted}
        return self._noted

    def on(self, day: date) -> Night:
        """The night of another day, with the inputs that this night noted."""
        return Night(self.warehouse, day, self.noted())

    def note_model(self, chosen: Chosen) -> None:
        """Note the model that scores this night, and why; every later step uses it."""
        model = chosen.model
        row = {
            "ds": self.ds,
            "model_version": model.version,
            "checkpoint": model.source,
            "why": chosen.why,
        }
        report("validate", f"{model.version} scores this night: {chosen.why}", model_version=model.version)
        self.replace_rows(NIGHT_MODELS, [row])

    def model_version(self) -> str:
        noted = self.rows(NIGHT_MODELS)
        if not noted:
            raise ContractError(f"night_models: nothing noted for ds={self.ds}; run the step validate first")
        return str(noted[0]["model_version"])

    def input(self, table: Table) -> DataFrame:
        """An input at its noted version, without erased users; empty if it is optional and did not exist."""
        return self._without_erased(self.with_erased(table))

    def with_erased(self, table: Table) -> DataFrame:
        """As `input`, with erased users: only to count their rows."""
        noted = self.noted().get(table.name)
        if noted is None:
            return self.warehouse.frame(table, [])
        return self.warehouse.read_as_noted(table, noted, self.ds).select(*table.column_names)

    def tonight(self, table: Table) -> DataFrame:
        """The rows of a table that this night made, without users who were erased since."""
        return self._without_erased(self.warehouse.read(table).where(F.col("ds") == F.lit(self.ds)))

    def _without_erased(self, rows: DataFrame) -> DataFrame:
        return self.warehouse.without_erased(rows) if "user_id" in rows.columns else rows

    def replace(self, table: Table, rows: DataFrame | None, **partition: object) -> None:
        """Replace one partition of this night's rows by `rows`; None, known to be no rows, runs no Spark job."""
        if rows is None:
            self.replace_rows(table, [], **partition)
        else:
            self.warehouse.replace(table, rows, ds=self.ds, **partition)

    # Tables with a few rows a night are read and written without Spark, which would run several jobs for each.

    def rows(self, table: Table, columns: str = "*", more: str = "") -> list[dict[str, Any]]:
        """The rows of a table that this night wrote, by SQL: `columns`, and `more` conditions or a grouping."""
        return store.rows_of_day(self.settings.warehouse, table, self.ds, columns, more)

    def replace_rows(self, table: Table, content: list[dict[str, Any]], **partition: object) -> None:
        """As `replace`, with a few rows in memory."""
        store.replace_rows(self.settings.warehouse, table, content, ds=self.ds, **partition)

    @contextmanager
    def step(self, name: str, kept_in: Table = NIGHT_STEPS) -> Iterator[dict[str, int]]:
        """`noted_step` of this night, which reads its inputs as noted."""
        with noted_step(self.settings.warehouse, kept_in, self.ds, name) as counts, reading_as_noted(self.ds):
            yield counts


def bucket(user_id: Column, buckets: int) -> Column:
    """crc32(user_id) % buckets, as schemas.buckets.bucket_of computes it in Python."""
    return F.pmod(F.crc32(user_id.cast("binary")), F.lit(buckets)).cast("int")
