"""Checks between scoring and publishing. A night that fails one is not published.

Some hold of every night. Others compare what the night would change with the last published nights; a change that is
meant is published after `marquee accept`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    AUDIT_RESULTS,
    NIGHT_CHANGES,
    REJECTED_ROWS,
    SCORING_RUNS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    WANTED_PAIRS,
)
from spark_jobs.changes import MIN_PAIRS, Check, changes
from spark_jobs.policy import ranked, scored_options
from spark_jobs.published import published_before
from spark_jobs.warehouse import Night

_SUM_TOLERANCE = 1e-6


def asked_pairs(user_contexts: DataFrame) -> DataFrame:
    """user_id, title_id, ordering, prompt_hash: the pairs to score."""
    return user_contexts.select("user_id", F.explode("pairs").alias("pair")).select("user_id", "pair.*")


def is_proper(artwork_ids: Column, probabilities: Column) -> Column:
    """Whether these are probabilities: one per artwork, each in 0 to 1 (not null, not NaN), with a sum of 1."""
    total = F.aggregate(probabilities, F.lit(0.0), lambda sum_, p: sum_ + p)
    one_to_one = F.size(probabilities) == F.size(artwork_ids)
    proper = F.forall(probabilities, lambda p: ~F.isnan(p) & p.between(0, 1))
    fine = one_to_one & proper & (F.abs(total - 1) <= _SUM_TOLERANCE)
    # A null input makes the result null, which means no.
    return F.coalesce(fine, F.lit(False))


def best_artwork(artwork_ids: Column, probabilities: Column) -> Column:
    """The most probable artwork; ties go to the first id, as in a published ranking. Null if there is none."""
    return F.get(ranked(scored_options(artwork_ids, probabilities)), F.lit(0))["artwork_id"]


def with_best_before(scores: DataFrame, published: DataFrame) -> DataFrame:
    """`scores` with best_before: the best artwork in the pair's published ranking; null unless a model scored it."""
    before = published.where("source = 'model'").select(
        "user_id", "title_id", F.col("ranking")[0]["artwork_id"].alias("best_before")
    )
    return scores.join(before, ["user_id", "title_id"], how="left")


def drift() -> tuple[Column, Column]:
    """rescored, changed: the number of pairs of `with_best_before` that a model had scored before, and of those whose
    best artwork has changed.
    """
    before = F.col("best_before")
    changed = F.when(before.isNotNull(), best_artwork(F.col("artwork_ids"), F.col("probabilities")) != before)
    return F.count("best_before").alias("rescored"), F.count_if(changed).alias("changed")


def found(asked: DataFrame, scores: DataFrame, choices: DataFrame, published: DataFrame) -> DataFrame:
    """One row of counts: unanswered (pairs to score without a score), not_asked (scores of other pairs), other_artworks
    (scores whose artworks are not those of the rotation to score), improper, versions, rescored, changed. It takes one
    pass, whatever it finds.
    """
    is_asked, is_scored = F.col("asked").isNotNull(), F.col("scored").isNotNull()
    asked_ids = choices.select("title_id", "ordering", F.col("artwork_ids").alias("asked_ids"))
    same = F.col("artwork_ids").eqNullSafe(F.col("asked_ids"))
    proper = is_proper(F.col("artwork_ids"), F.col("probabilities"))
    answered = with_best_before(scores, published).withColumn("scored", F.lit(True))
    return (
        asked.withColumn("asked", F.lit(True))
        .join(answered, ["user_id", "title_id", "prompt_hash"], how="full")
        .join(asked_ids, ["title_id", "ordering"], how="left")
        .agg(
            F.count_if(is_asked & ~is_scored).alias("unanswered"),
            F.count_if(is_scored & ~is_asked).alias("not_asked"),
            F.count_if(is_asked & is_scored & ~same).alias("other_artworks"),
            F.count_if(is_scored & ~proper).alias("improper"),
            F.size(F.collect_set("model_version")).alias("versions"),
            *drift(),
        )
    )


def checks(night: Night) -> dict[str, Check]:
    """The checks that hold of every night."""
    settings: Settings = night.settings
    rejects = {row["step"]: row["rows"] for row in night.rows(REJECTED_ROWS, "step, count(*) AS rows", "GROUP BY step")}
    unscorable = rejects.get("score", 0)
    (runs,) = night.rows(SCORING_RUNS, "sum(label_mass * pairs) / nullif(sum(pairs), 0) AS mass")
    wanted = night.tonight(WANTED_PAIRS).agg(F.coalesce(F.sum(F.size("title_ids")), F.lit(0)).alias("wanted"))
    row = (
        found(
            asked_pairs(night.tonight(USER_CONTEXTS)),
            night.tonight(ARTWORK_SCORES),
            night.tonight(TITLE_CHOICES),
            published_before(night, night.noted()),
        )
        .crossJoin(wanted)
        .collect()[0]
    )
    lost = rejects.get("contexts", 0) + unscorable
    return {
        "pairs neither scored nor rejected": Check(abs(row["unanswered"] - unscorable), 0),
        "scores that nobody asked for": Check(row["not_asked"], 0),
        "scores for other artworks than were asked": Check(row["other_artworks"], 0),
        "scores that are no probabilities": Check(row["improper"], 0),
        "share of wanted pairs rejected": Check(
            lost / row["wanted"] if row["wanted"] else 0.0, settings.rejected_share_limit
        ),
        "share of best artworks that changed": Check(
            row["changed"] / row["rescored"] if row["rescored"] >= MIN_PAIRS else 0.0, settings.drift_limit
        ),
        "probability off the option numbers": Check(
            1 - runs["mass"] if runs["mass"] is not None else 0.0, 1 - settings.label_mass_floor
        ),
        "model versions beyond one": Check(max(0, row["versions"] - 1), 0),
    }


def accepted(night: Night, changed: Mapping[str, Check]) -> dict[str, Check]:
    """`changed`, with an operator's reason where an earlier audit of this night found the same value and it was
    accepted.
    """
    found = dict(changed)
    for row in night.rows(AUDIT_RESULTS, '"check", value, accepted', "AND accepted IS NOT NULL"):
        check = found.get(row["check"])
        # Sums of doubles may come in another order.
        if check and math.isclose(check.value, row["value"], rel_tol=1e-9):
            found[row["check"]] = replace(check, accepted=row["accepted"])
    return found


def audit(night: Night) -> None:
    """Write `audit_results`; raise ContractError if a check fails."""
    # A night may have begun under an earlier version of Marquee.
    night.warehouse.create_missing((AUDIT_RESULTS, NIGHT_CHANGES))
    with night.step("audit") as counts:
        results = checks(night)
        whole = all(check.passed for check in results.values())
        if whole:
            # Scores that are no probabilities have no distribution to compare.
            results |= accepted(night, changes(night, counts))
        night.replace_rows(
            AUDIT_RESULTS,
            [
                {
                    "ds": night.ds,
                    "check": name,
                    "value": float(check.value),
                    "limit": float(check.limit),
                    "passed": check.passed,
                    "expected": check.expected,
                    "accepted": check.accepted,
                }
                for name, check in results.items()
            ],
        )
        failed = {name: check for name, check in results.items() if not check.passed}
        counts.update(checks=len(results), failed=len(failed))
        if failed:
            remedy = "The scores are in artwork_scores, the reasons for rejects in rejected_rows"
            if whole:
                remedy = f"If that is meant: marquee accept --ds {night.ds} --reason '…', and then the audit again"
            raise ContractError(
                f"ds={night.ds} fails its audit, so nothing of it is published: "
                f"{'; '.join(_sentence(name, check) for name, check in failed.items())}. {remedy}"
            )


def _sentence(name: str, check: Check) -> str:
    if check.expected is None:
        return f"{name}: {check.value:g}, at most {check.limit:g} allowed"
    return f"{name}: {check.value:g}, expected {check.expected:g}, at most {check.limit:g} apart"
