"""The input tables: which rows a night reads, which of them break their contract, and by which rule."""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.contract import ContractError, Table, type_name
from schemas.events import report
from schemas.settings import Settings
from schemas.store import absence, open_table, rows
from schemas.tables import (
    ARTWORKS,
    IMPRESSIONS,
    INPUTS,
    MAX_ARTWORKS,
    NIGHT_STEPS,
    TITLE_CANDIDATES,
    TITLES,
    VIEWING_HISTORY,
)
from spark_jobs.warehouse import Night

NO_BUCKET = -1


def check_columns(table: Table, rows: DataFrame) -> None:
    """Raise ContractError listing every missing column and every wrong type. Extra columns are ignored."""
    found = {field.name: field.dataType for field in rows.schema.fields}
    faults = [
        f"column {column.name} is missing, the contract says {type_name(column.type)}"
        if column.name not in found
        else f"column {column.name} is {found[column.name].simpleString()}, the contract says {type_name(column.type)}"
        for column, wanted in zip(table.columns, table.spark_schema().fields, strict=True)
        if column.name not in found or found[column.name].simpleString() != wanted.dataType.simpleString()
    ]
    if faults:
        raise ContractError(f"{table.name}: {'; '.join(faults)} (schemas/tables.py)")


def broken_rule(table: Table) -> Column:
    """The name of the first rule that the row breaks; null for a good row."""
    return F.coalesce(
        *(F.when(~F.coalesce(F.expr(rule.condition), F.lit(False)), rule.name) for rule in table.row_rules)
    )


def obeying(table: Table, rows: DataFrame) -> DataFrame:
    """The rows that break no row rule (a rule that one row can break by itself)."""
    return rows.where(broken_rule(table).isNull())


def with_broken_rule(table: Table, rows: DataFrame, referred: dict[str, DataFrame], ds: date) -> DataFrame:
    """`rows` with a column `rule`: the rule that the row breaks, or null.

    Row rules are checked first, then references (`referred` maps a column to the good rows of the table it refers to),
    then the key among the remaining rows: of rows with equal keys, the first by hash is kept.
    """
    rows = rows.withColumn("rule", broken_rule(table))
    for column, source in referred.items():
        known = source.select(F.col(column).alias("_known")).distinct()
        rows = (
            rows.join(known, F.col(column) == F.col("_known"), how="left")
            .withColumn("rule", F.coalesce("rule", F.when(F.col("_known").isNull(), f"unknown_{column}")))
            .drop("_known")
        )
    if table.key:
        # xxhash64 skips nulls: break its ties by which columns are null.
        nulls = [F.col(column.name).isNull() for column in table.columns if column.nullable]
        same_key = Window.partitionBy(F.col("rule").isNull(), *table.key).orderBy(
            F.xxhash64(*table.column_names), *nulls
        )
        repeated = F.row_number().over(same_key) > 1
        rows = rows.withColumn("_repeated", repeated)
        rows = rows.withColumn("rule", F.coalesce("rule", F.when(F.col("_repeated"), "duplicate_key"))).drop(
            "_repeated"
        )
    return _without_surplus(rows, ds) if table is ARTWORKS else rows


def _without_surplus(artworks: DataFrame, ds: date) -> DataFrame:
    """Set the rule `too_many_artworks` on a title's artworks active on ds beyond the number that a choice can hold."""
    eligible = F.col("rule").isNull() & active_on(ds)
    of_title = Window.partitionBy("title_id", eligible).orderBy(F.desc("is_default"), "artwork_id")
    surplus = eligible & (F.row_number().over(of_title) > MAX_ARTWORKS)
    artworks = artworks.withColumn("_surplus", surplus)
    return artworks.withColumn("rule", F.coalesce("rule", F.when(F.col("_surplus"), "too_many_artworks"))).drop(
        "_surplus"
    )


def active_on(ds: date) -> Column:
    """Whether an artwork may be shown on ds."""
    return (F.col("active_from") <= F.lit(ds)) & F.coalesce(F.col("active_to") >= F.lit(ds), F.lit(True))


def night_rows(table: Table, rows: DataFrame, ds: date, settings: Settings) -> DataFrame:
    """The rows of an input that a night reads: none after ds, none older than `history_days`.

    Every night reads rows without a date, so that every night rejects them.
    """
    oldest = ds - timedelta(days=settings.history_days)
    if table is VIEWING_HISTORY:
        return _of_days(rows, "watch_date", oldest, ds)
    if table is IMPRESSIONS:
        return _of_days(rows, "ds", oldest, ds)
    if table is TITLE_CANDIDATES:
        return _of_days(rows, "ds", ds, ds)
    return rows


def _of_days(rows: DataFrame, column: str, first: date, last: date) -> DataFrame:
    day = F.col(column)
    return rows.where(day.between(F.lit(first), F.lit(last)) | day.isNull())


def good_titles(night: Night) -> DataFrame:
    return _good(night, TITLES, {})


def good_artworks(night: Night) -> DataFrame:
    """The artworks that obey their contract and are active on ds."""
    return known_artworks(night).where(active_on(night.ds))


def known_artworks(night: Night) -> DataFrame:
    """The artworks that obey their contract, active on ds or not."""
    return _good(night, ARTWORKS, {"title_id": good_titles(night)})


def good_candidates(night: Night) -> DataFrame:
    return _good(night, TITLE_CANDIDATES, {"title_id": good_titles(night)})


def good_history(night: Night) -> DataFrame:
    """Viewings that obey the row rules. Repeats stay: readers of history take one viewing per user and title."""
    return obeying(VIEWING_HISTORY, night_rows(VIEWING_HISTORY, night.input(VIEWING_HISTORY), night.ds, night.settings))


def good_impressions(night: Night) -> DataFrame:
    return _good(night, IMPRESSIONS, {})


def _good(night: Night, table: Table, referred: dict[str, DataFrame]) -> DataFrame:
    rows = night_rows(table, night.input(table), night.ds, night.settings)
    return with_broken_rule(table, rows, referred, night.ds).where(F.col("rule").isNull()).drop("rule")


def rejected(table: Table, rows: DataFrame, ds: date, step: str) -> DataFrame:
    """Rows with a broken `rule`, as rows of `rejected_rows`."""
    return rows.where(F.col("rule").isNotNull()).select(
        F.lit(ds).alias("ds"),
        F.lit(step).alias("step"),
        F.lit(NO_BUCKET).alias("bucket"),
        F.lit(table.name).alias("source_table"),
        F.to_json(F.struct(*table.column_names)).alias("row"),
        "rule",
    )


def check_present(night: Night) -> None:
    """Raise ContractError if a required table, a column, tonight's history or the catalogue is missing."""
    warehouse = night.warehouse
    missing = [table for table in INPUTS if not table.optional and not warehouse.has(table)]
    if missing:
        raise ContractError(
            "; ".join(absence(night.settings.warehouse, table) for table in missing)
            + ". Fill the warehouse first (`marquee sample --help`), or set MARQUEE_WAREHOUSE"
        )
    faults = []
    for table in filter(warehouse.has, INPUTS):
        try:
            check_columns(table, warehouse.read(table))
        except ContractError as error:
            faults.append(str(error))
    if faults:
        raise ContractError("\n".join(faults))
    some = have_rows(
        titles=warehouse.read(TITLES),
        artworks=warehouse.read(ARTWORKS).where(active_on(night.ds)),
        viewing_history=warehouse.read(VIEWING_HISTORY).where(F.col("watch_date") == F.lit(night.ds)),
    )
    # An empty catalogue would remove every published choice.
    if TITLES.name not in some:
        raise ContractError("titles: the table is empty. Load the catalogue and run the night again")
    if ARTWORKS.name not in some:
        raise ContractError(
            f"artworks: no row is active on {night.ds} (active_from, active_to). Load the artworks and run the night "
            "again"
        )
    if VIEWING_HISTORY.name not in some:
        check_history(night)


def have_rows(**frames: DataFrame) -> set[str]:
    """The names of the frames that are not empty, by one query."""
    firsts = [frame.limit(1).select(F.lit(name).alias("name")) for name, frame in frames.items()]
    return {row["name"] for row in reduce(DataFrame.union, firsts).collect()}


def check_history(night: Night) -> None:
    """Raise ContractError for a day without history, unless there has never been any: a service's first nights."""
    # As text: Spark has dates after the year 9999, Python does not.
    newest = night.warehouse.read(VIEWING_HISTORY).agg(
        F.count("*").alias("rows"), F.max("watch_date").cast("string").alias("day")
    )
    found = newest.collect()[0]
    if found["rows"]:
        raise ContractError(
            f"viewing_history: no rows with watch_date={night.ds}, so the day has not been loaded (the newest is "
            f"{found['day']}). Load it and run the night again"
        )
    if (read := most_history_read(night)) > 0:
        raise ContractError(
            f"viewing_history: the table is empty, though an earlier night read {read:,} rows of it. Load it and "
            "run the night again"
        )
    report("validate", "viewing_history is empty, as it is before anybody has watched anything")


def most_history_read(night: Night) -> int:
    """The most rows of viewing history that any night has read; 0 before the first."""
    if not night.warehouse.has(NIGHT_STEPS):
        return 0
    steps = open_table(night.settings.warehouse, NIGHT_STEPS)
    validated = rows("SELECT counts FROM steps WHERE step = 'validate'", steps=steps)
    return max((dict(row["counts"]).get(f"rows_{VIEWING_HISTORY.name}", 0) for row in validated), default=0)


def check_share(table_name: str, broken: dict[str, int], rows: int, settings: Settings, ds: date) -> None:
    """Raise ContractError if more than the allowed share of a table's rows was rejected."""
    count = sum(broken.values())
    if count <= settings.rejected_share_limit * rows:
        return
    rules = ", ".join(f"{rule} {number:,}" for rule, number in sorted(broken.items()))
    raise ContractError(
        f"{table_name}: {count:,} of {rows:,} rows were rejected ({count / rows:.1%}), over the limit of "
        f"{settings.rejected_share_limit:.1%} (MARQUEE_REJECTED_SHARE_LIMIT): {rules}. Mend the source; the "
        f"night's step validate puts them in rejected_rows, where ds = '{ds}'"
    )
