"""What a night would change, compared with the last published nights, before it is published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from schemas.prompt import without_bands
from schemas.settings import Settings
from schemas.store import literal, open_table, rows, rows_where
from schemas.tables import (
    ARTWORK_SCORES,
    AUDIT_RESULTS,
    NIGHT_CHANGES,
    NIGHT_MODELS,
    NIGHT_STEPS,
    REMOVED,
    TITLE_CHOICES,
)
from spark_jobs.decisions import ADDED, CHANGED, UNCHANGED, planned
from spark_jobs.policy import entropy, explored, ranked, scored_options
from spark_jobs.published import published_nights
from spark_jobs.warehouse import Night

MIN_PAIRS = 100
"""With fewer pairs, their shares and means are noise."""
# Of fewer users or titles in earlier nights, a few more or less are a large share.
_MIN_NUMBER = 20
_MIN_TITLES = 10
# Pairs of a title from which it counts whether their best artwork is the same.
_PAIRS_OF_TITLE = 5
# Published nights to compare with: a week has all kinds of days.
_NIGHTS = 7


@dataclass(frozen=True)
class Check:
    """What an audit found: `limit` is the most allowed of the value, or of its distance from `expected`."""

    value: float
    limit: float
    expected: float | None = None
    accepted: str | None = None

    @property
    def passed(self) -> bool:
        distance = self.value if self.expected is None else abs(self.value - self.expected)
        return distance <= self.limit or self.accepted is not None


def answers(scores: DataFrame, settings: Settings) -> DataFrame:
    """title_id, options (K), best (the most probable artwork), number (its option), shown (its propensity), flat (K
    times the smallest propensity: 1 if the choice is uniform, and never less than ε) and entropy of each scored pair.
    """
    distribution = explored(scored_options(F.col("artwork_ids"), F.col("probabilities")), settings)
    first = F.get(ranked(F.col("distribution")), F.lit(0))
    least = F.array_min(F.transform("distribution", lambda option: option["propensity"]))
    return scores.withColumn("distribution", distribution).select(
        "title_id",
        F.size("artwork_ids").alias("options"),
        first["artwork_id"].alias("best"),
        F.array_position("artwork_ids", first["artwork_id"]).alias("number"),
        first["propensity"].alias("shown"),
        (F.size("artwork_ids") * least).alias("flat"),
        entropy(F.col("distribution")).alias("entropy"),
    )


def by_number(answered: DataFrame) -> DataFrame:
    """options, number, pairs and the sums of shown, flat and entropy."""
    sums = (F.sum(name).alias(name) for name in ("shown", "flat", "entropy"))
    return answered.groupBy("options", "number").agg(F.count("*").alias("pairs"), *sums)


def by_title(after: DataFrame) -> DataFrame:
    """Rows of `night_changes` without ds, from `state_after`."""
    numbers = (F.count_if(F.col("change") == each).alias(each) for each in (ADDED, CHANGED, REMOVED, UNCHANGED))
    return after.groupBy("title_id", "source").agg(*numbers, F.mean("entropy").alias("entropy"))


def pairs_of(wins: Sequence[Row]) -> int:
    return sum(int(row["pairs"]) for row in wins)


def surplus(wins: Sequence[Row]) -> float:
    """By how much of all pairs the most successful option number wins more often than by chance, which gives each of K
    options 1 / K; from rows of `by_number`.
    """
    found: dict[int, float] = defaultdict(float)
    for row in wins:
        found[row["number"]] += row["pairs"]
        for number in range(1, row["options"] + 1):
            found[number] -= row["pairs"] / row["options"]
    return max(found.values()) / pairs_of(wins)


def same_for_all(answered: DataFrame) -> DataFrame:
    """One row: pairs of titles with some pairs, and commonest, those whose best artwork is their title's commonest."""
    titles = answered.groupBy("title_id", "best").count().groupBy("title_id")
    sums = titles.agg(F.max("count").alias("commonest"), F.sum("count").alias("pairs"))
    return sums.where(F.col("pairs") >= _PAIRS_OF_TITLE).agg(
        F.sum("pairs").alias("pairs"), F.sum("commonest").alias("same")
    )


def texts_changed(choices: DataFrame, before: DataFrame) -> DataFrame:
    """One row: titles, those of them with a text in `before` (known), and those whose text is another one (changed).

    Play rates are not compared: they move every night, and more of them the younger the log.
    """
    first = F.col("ordering") == 0
    text = F.struct("artwork_ids", without_bands(F.col("choice")).alias("text"))
    earlier = before.where(first).select("title_id", text.alias("text_before"))
    return (
        choices.where(first)
        .select("title_id", text.alias("text"))
        .join(earlier, "title_id", how="left")
        .agg(
            F.count("*").alias("titles"),
            F.count("text_before").alias("known"),
            F.count_if(F.col("text") != F.col("text_before")).alias("changed"),
        )
    )


def of_the_models_answers(answered: DataFrame, settings: Settings) -> tuple[dict[str, Check], dict[str, float]]:
    """Checks on tonight's answers alone, and means to compare with other nights; neither of only a few pairs."""
    alone, means = {}, {}
    wins = by_number(answered).collect()
    if (pairs := pairs_of(wins)) >= MIN_PAIRS:
        alone["share of pairs that one option number wins beyond chance"] = Check(
            surplus(wins), settings.number_limit, 0
        )
        means["mean propensity of the best artwork"] = sum(row["shown"] for row in wins) / pairs
        means["mean entropy of the distributions"] = sum(row["entropy"] for row in wins) / pairs
        means["mean propensity of the worst artwork, times artworks"] = sum(row["flat"] for row in wins) / pairs
    same = same_for_all(answered).collect()[0]
    if (same["pairs"] or 0) >= MIN_PAIRS:
        share = same["same"] / same["pairs"]
        alone["share of pairs with their title's commonest best artwork"] = Check(share, settings.same_for_all_limit, 0)
    return alone, means


def of_the_questions(night: Night, last: date | None) -> tuple[dict[str, Check], dict[str, float], dict[str, float]]:
    """A check of the titles' texts against the last night's, and shares and numbers to compare with other nights."""
    alone, shares, numbers = {}, {}, dict[str, float]()
    counts = {row["step"]: dict(row["counts"]) for row in night.rows(NIGHT_STEPS, "step, counts")}
    numbers["users with wanted pairs"] = counts["candidates"]["users"]
    if (wanted := counts["contexts"]["pairs_wanted"]) >= MIN_PAIRS:
        shares["share of wanted pairs chosen at random"] = counts["contexts"]["pairs_uniform"] / wanted
    before = night.warehouse.read(TITLE_CHOICES).where(F.col("ds") == F.lit(last))
    texts = texts_changed(night.tonight(TITLE_CHOICES), before).collect()[0]
    numbers["titles with artworks"] = texts["titles"]
    if texts["known"] >= _MIN_TITLES:
        changed = texts["changed"] / texts["known"]
        alone["share of titles whose text changed"] = Check(changed, night.settings.change_limit, 0)
    return alone, shares, numbers


def kept_before(night: Night) -> list[dict[str, Any]]:
    """ds, check and value of what the audits of earlier nights kept for comparison."""
    kept = f"SELECT ds, \"check\", value FROM results WHERE expected IS NOT NULL AND ds < DATE '{night.ds}'"
    return rows(kept, results=open_table(night.settings.warehouse, AUDIT_RESULTS))


def kept_by(nights: Sequence[date], kept: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The values of `nights` among rows of `kept_before`, by check."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in kept:
        if row["ds"] in nights:
            found[row["check"]].append(row["value"])
    return found


def of_the_same_model(nights: Sequence[date], night: Night) -> list[date]:
    """Those of `nights` that the model of tonight scored. Another one answers in another way: the gate judged that."""
    model = night.model_version()
    scored = rows_where(night.settings.warehouse, NIGHT_MODELS, f"model_version = {literal(model)}")
    return sorted({row["ds"] for row in scored} & set(nights))


def nearest(value: float, others: Sequence[float]) -> float:
    """Of the last nights' values the nearest, since one of them may be of a night like this one; without any, `value`
    itself, which is then only kept for later nights.
    """
    return min(others, key=lambda other: abs(other - value), default=value)


def within(share: float, value: float, others: Sequence[float]) -> Check:
    """A check that `value` differs from the nearest of `others` by at most `share` of it."""
    expected = nearest(value, others)
    return Check(value, share * expected, expected)


def of_the_policy(settings: Settings, before: Mapping[str, Sequence[float]]) -> dict[str, Check]:
    """Checks of the policy's own numbers. Propensities hardly move when a small ε becomes a tenth of it, but weights
    1 / propensity become ten times as large.
    """
    numbers = {"epsilon": settings.epsilon, "temperature": settings.temperature}
    return {name: within(settings.change_limit, value, before.get(name, ())) for name, value in numbers.items()}


def of_the_state(night: Night, counts: dict[str, int]) -> dict[str, Check]:
    """Write `night_changes`, count users, and check how many of the choices that stand the night would remove."""
    columns = ("user_id", "title_id", "source", "change", entropy(F.col("ranking")).alias("entropy"))
    after = planned(night).select(*columns).persist(StorageLevel.MEMORY_AND_DISK)
    night.replace(NIGHT_CHANGES, by_title(after).withColumn("ds", F.lit(night.ds)).coalesce(1))
    users = after.groupBy("user_id").agg(F.bool_or(F.col("change") != UNCHANGED).alias("changed"))
    row = users.agg(F.count("*").alias("users"), F.count_if("changed").alias("users_changed")).collect()[0]
    counts.update(row.asDict())
    (sums,) = night.rows(NIGHT_CHANGES, f"sum({CHANGED} + {UNCHANGED}) AS kept, sum({REMOVED}) AS removed")
    stood = (sums["kept"] or 0) + (sums["removed"] or 0)
    if stood < MIN_PAIRS:
        return {}
    return {"share of pairs removed": Check(sums["removed"] / stood, night.settings.change_limit, 0)}


def changes(night: Night, counts: dict[str, int]) -> dict[str, Check]:
    """The checks on what the night would change, by name; `counts` gets the number of users and of those whose choices
    change.
    """
    settings, nights = night.settings, published_nights(night, "<")[-_NIGHTS:]
    answered = answers(night.tonight(ARTWORK_SCORES), settings).persist()
    of_answers, means = of_the_models_answers(answered, settings)
    of_questions, shares, numbers = of_the_questions(night, nights[-1] if nights else None)
    kept = kept_before(night)
    before = kept_by(nights, kept)
    found = {**of_answers, **of_questions, **of_the_policy(settings, before), **of_the_state(night, counts)}
    by_model = kept_by(of_the_same_model(nights, night), kept)
    found |= {
        name: Check(value, settings.policy_limit, nearest(value, by_model[name])) for name, value in means.items()
    }
    for name, value in shares.items():
        found[name] = Check(value, settings.change_limit, nearest(value, before[name]))
    for name, value in numbers.items():
        found[name] = within(settings.change_limit, value, [other for other in before[name] if other >= _MIN_NUMBER])
    return found
