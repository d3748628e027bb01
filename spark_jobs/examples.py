"""The examples that post-training learns from and is evaluated on: logged impressions as prompts.

An example holds what was known just before its impression: viewings strictly before `shown_at`, and the artworks that
could have been shown. The functions that make a night's texts make these too, with a moment of a user in place of the
user and a set of artworks in place of the title.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.store import absence
from schemas.tables import (
    EXAMPLES,
    IMPRESSIONS,
    MAX_ARTWORKS,
    POST_TRAINING_EXAMPLES,
    POST_TRAINING_STEPS,
    PREFERENCE_PAIRS,
    VIEWING_HISTORY,
)
from spark_jobs.hashing import list_hash
from spark_jobs.inputs import (
    check_present,
    check_share,
    good_impressions,
    good_titles,
    known_artworks,
    night_rows,
    obeying,
    with_broken_rule,
)
from spark_jobs.policy import first_of_draws
from spark_jobs.preferences import preference_pairs
from spark_jobs.prompts import title_choice_texts, user_context_texts
from spark_jobs.questions import write_questions
from spark_jobs.session import materialized
from spark_jobs.signals import with_bands
from spark_jobs.splits import HELD_OUT, TRAINING, first_of_splits, sample_place, split
from spark_jobs.taste import with_taste_groups
from spark_jobs.warehouse import Night

# The fates of an impression.
USABLE, REPEAT, ONLY_CHOICE, TOO_MANY, UNKNOWN = (
    "usable",
    "repeat",
    "only_choice",
    "too_many_artworks",
    "unknown_artwork",
)


def with_fate(impressions: DataFrame, titles: DataFrame, artworks: DataFrame, settings: Settings) -> DataFrame:
    """The first impression of each draw, with choice_key, eligible (sorted ids) and fate: usable as an example, or why
    not. The other impressions of a draw are repeats.
    """
    eligible = F.array_sort(F.array_distinct("eligible_artwork_ids"))
    key = F.concat("title_id", F.lit("@"), F.hex(list_hash(F.col("eligible"))))
    marked = first_of_draws(impressions, settings).withColumn("eligible", eligible).withColumn("choice_key", key)
    known = known_sets(marked, titles, artworks).withColumn("known", F.lit(True))
    fate = (
        F.when(F.size("eligible") == 1, ONLY_CHOICE)
        .when(F.size("eligible") > MAX_ARTWORKS, TOO_MANY)
        .when(F.col("known").isNull(), UNKNOWN)
        .otherwise(USABLE)
    )
    return marked.join(known, "choice_key", how="left").withColumn("fate", fate).drop("known")


def known_sets(impressions: DataFrame, titles: DataFrame, artworks: DataFrame) -> DataFrame:
    """choice_key: the sets of eligible artworks that make a choice: each is known and belongs to the title."""
    sets = impressions.select("choice_key", "title_id", "eligible").distinct()
    return (
        sets.join(titles.select("title_id"), "title_id", how="left_semi")
        .select("choice_key", "title_id", F.size("eligible").alias("size"), F.explode("eligible").alias("artwork_id"))
        .join(artworks.select("title_id", "artwork_id"), ["title_id", "artwork_id"], how="inner")
        .groupBy("choice_key", "size")
        .count()
        .where(F.col("count") == F.col("size"))
        .select("choice_key")
    )


def sampled(usable: DataFrame, settings: Settings) -> DataFrame:
    """`usable` with split and ordering, up to the limit of each split: the rows with the smallest hash of user and
    title. A user's impressions of one title stay together, as preference pairs need them.

    The rotation depends on user and set alone, so the option number of the shown artwork carries no information.
    """
    ordering = F.pmod(F.xxhash64("user_id", "choice_key"), F.size("eligible")).cast("int")
    rows = usable.withColumn("split", split(F.col("user_id"), settings)).withColumn("ordering", ordering)
    return first_of_splits(rows, settings)


def with_contexts(sample: DataFrame, history: DataFrame, titles: DataFrame, settings: Settings) -> DataFrame:
    """`sample` with context, context_key, themes, watched_genres and history_titles, from the user's viewings before
    shown_at and the column taste_group.
    """
    sample = with_moment(sample, history)
    moments = sample.select("moment", "user_id", "ds", "latest", "taste_group").distinct()
    oldest = F.date_sub("ds", settings.history_days)
    before = (
        moments.join(history, "user_id", how="inner")
        .where((F.col("watched_at") <= F.col("latest")) & (F.col("watch_date") >= oldest))
        .select(F.col("moment").alias("user_id"), "title_id", "watched_at", "completion")
    )
    users = moments.select(F.col("moment").alias("user_id"), "taste_group")
    texts = user_context_texts(users, before, titles, settings).withColumnRenamed("user_id", "moment")
    return sample.join(texts, "moment", how="inner").select(
        *(name for name in sample.columns if name != "latest"),
        "themes",
        "watched_genres",
        "context",
        F.col("watched").alias("history_titles"),
        # A user's impressions between two viewings share a context, so the scorer computes it once.
        F.concat("user_id", F.lit("@"), F.hex(F.xxhash64("context"))).alias("context_key"),
    )


def with_moment(sample: DataFrame, history: DataFrame) -> DataFrame:
    """`sample` with latest, the time of the user's last viewing before shown_at, and moment, an id of what is known of
    the user then. Impressions of one day between two viewings share a moment, whose history is collected once: a whole
    history per impression would be a hundred times as many rows.
    """
    shown = sample.select("user_id", "shown_at").distinct()
    latest = (
        shown.join(history.select("user_id", "watched_at"), "user_id", how="left")
        .groupBy("user_id", "shown_at")
        .agg(F.max(F.when(F.col("watched_at") < F.col("shown_at"), F.col("watched_at"))).alias("latest"))
    )
    moment = F.concat_ws("@", "user_id", F.col("ds").cast("string"), F.unix_micros("latest").cast("string"))
    return sample.join(latest, ["user_id", "shown_at"], how="inner").withColumn("moment", moment)


def set_choices(sample: DataFrame, titles: DataFrame, artworks: DataFrame, settings: Settings) -> DataFrame:
    """choice_key, ordering, artwork_ids, choice: every rotation of each set of eligible artworks with their bands."""
    sets = sample.select("choice_key", "title_id", "eligible", "bands").distinct()
    set_titles = sets.join(titles, "title_id", how="inner").withColumn("title_id", F.col("choice_key"))
    set_artworks = (
        sets.select("choice_key", "title_id", "bands", F.posexplode("eligible").alias("place", "artwork_id"))
        .withColumn("band", F.get("bands", F.col("place")))
        .join(artworks, ["title_id", "artwork_id"], how="inner")
        .withColumn("title_id", F.col("choice_key"))
    )
    all_rotations = settings.model_copy(update={"orderings": MAX_ARTWORKS})
    return title_choice_texts(set_titles, set_artworks, all_rotations).withColumnRenamed("title_id", "choice_key")


def with_choices(sample: DataFrame, choices: DataFrame) -> DataFrame:
    """`sample` with artwork_ids, choice and shown."""
    return sample.join(choices, ["choice_key", "ordering"], how="inner").withColumn(
        "shown", F.array_position("artwork_ids", F.col("artwork_id")).cast("int")
    )


def history_up_to(night: Night) -> DataFrame:
    """Viewings that obey the row rules, as far back as the oldest impression needs them."""
    oldest = night.ds - timedelta(days=2 * night.settings.history_days)
    history = night.input(VIEWING_HISTORY).where(F.col("watch_date").between(F.lit(oldest), F.lit(night.ds)))
    return obeying(VIEWING_HISTORY, history)


def check_impressions(night: Night) -> dict[str, int]:
    """Counts of impressions and of rejected ones. Raises ContractError if there are none, or too many are rejected."""
    if not night.warehouse.has(IMPRESSIONS):
        raise ContractError(
            f"{absence(night.settings.warehouse, IMPRESSIONS)}, and post-training "
            "learns from nothing else; let serving log what it shows (docs/reading.md)"
        )
    rows = night_rows(IMPRESSIONS, night.input(IMPRESSIONS), night.ds, night.settings)
    rules = with_broken_rule(IMPRESSIONS, rows, {}, night.ds).groupBy("rule").count().collect()
    found = {row["rule"]: row["count"] for row in rules}
    total = sum(found.values())
    broken = {rule: count for rule, count in found.items() if rule is not None}
    if total == 0:
        raise ContractError(f"{IMPRESSIONS.name}: no rows up to ds={night.ds}; load them and run the step again")
    check_share(IMPRESSIONS.name, broken, total, night.settings, night.ds)
    return {"impressions": total, "rejected": sum(broken.values())}


@dataclass(frozen=True)
class Made:
    """The `rows` of both splits, with more columns than the table, every rotation of their `choices`, and the number of
    impressions by fate (`counts`).
    """

    rows: DataFrame
    choices: DataFrame
    counts: dict[str, int]


def make_examples(night: Night) -> Made:
    """The examples of a day, from the inputs that `night` reads. Writes nothing."""
    settings = night.settings
    counts = check_impressions(night)
    titles, artworks = good_titles(night), known_artworks(night)
    fated = with_fate(good_impressions(night), titles, artworks, settings).persist(StorageLevel.MEMORY_AND_DISK)
    fates = {row["fate"]: row["count"] for row in fated.groupBy("fate").count().collect()}
    counts[REPEAT] = counts["impressions"] - counts["rejected"] - sum(fates.values())
    counts |= {fate: fates.get(fate, 0) for fate in (ONLY_CHOICE, TOO_MANY, UNKNOWN, USABLE)}
    usable = sampled(fated.where(F.col("fate") == USABLE), settings)
    sample = materialized(with_taste_groups(with_bands(usable, night), night))
    choices = materialized(set_choices(sample, titles, artworks, settings))
    rows = with_choices(with_contexts(sample, history_up_to(night), titles, settings), choices)
    signals = F.array(*(F.lit(name) for name in settings.signals)).cast("array<string>")
    rows = materialized(rows.withColumns({"ds": F.lit(night.ds), "signals": signals}))
    return Made(rows, choices, counts)


def examples(night: Night) -> None:
    """Write `post_training_examples`, `preference_pairs` and the held-out questions for the scorer."""
    check_present(night)
    night.read_as_of_now()
    night.warehouse.create_missing(EXAMPLES)
    with night.step("examples", POST_TRAINING_STEPS) as counts:
        made = make_examples(night)
        counts.update(made.counts)
        # Sorted by hash, so that the first rows, however many, are a fair sample.
        in_order = made.rows.repartition("split").sortWithinPartitions(sample_place(), *POST_TRAINING_EXAMPLES.key)
        night.replace(POST_TRAINING_EXAMPLES, in_order)
        training = made.rows.where(F.col("split") == TRAINING)
        night.replace(PREFERENCE_PAIRS, preference_pairs(training, night.ds).coalesce(1))
        write_questions(night, made.rows.where(F.col("split") == HELD_OUT), made.choices)
        counts.update(_made(night))


def _made(night: Night) -> dict[str, int]:
    splits = night.tonight(POST_TRAINING_EXAMPLES).groupBy("split").count().collect()
    negatives = night.tonight(PREFERENCE_PAIRS).groupBy("negative").count().collect()
    found = {row["split"]: row["count"] for row in splits}
    return {
        **{name: found.get(name, 0) for name in (TRAINING, HELD_OUT)},
        **{f"pairs_{row['negative']}": row["count"] for row in sorted(negatives, key=lambda row: str(row["negative"]))},
    }
