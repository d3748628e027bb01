"""Checks between scoring and publishing. A night that fails one is not published."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    AUDIT_RESULTS,
    REJECTED_ROWS,
    SCORING_RUNS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    WANTED_PAIRS,
)
from spark_jobs.policy import ranked, scored_options
from spark_jobs.published import published_before
from spark_jobs.warehouse import Night

_SUM_TOLERANCE = 1e-6
# Under this many rescored pairs a share of changed choices says nothing.
_DRIFT_PAIRS = 100


def asked_pairs(user_contexts: DataFrame) -> DataFrame:
    """user_id, title_id, ordering, prompt_hash: the pairs that were to be scored."""
    return user_contexts.select("user_id", F.explode("pairs").alias("pair")).select("user_id", "pair.*")


def unanswered(asked: DataFrame, scores: DataFrame) -> DataFrame:
    return asked.join(scores, ["user_id", "title_id", "prompt_hash"], how="left_anti")


def not_asked(asked: DataFrame, scores: DataFrame) -> DataFrame:
    return scores.join(asked, ["user_id", "title_id", "prompt_hash"], how="left_anti")


def other_artworks(asked: DataFrame, scores: DataFrame, choices: DataFrame) -> DataFrame:
    """Scores whose artworks are not those of the ordering that was asked."""
    return (
        scores.join(asked, ["user_id", "title_id", "prompt_hash"], how="inner")
        .join(
            choices.select("title_id", "ordering", F.col("artwork_ids").alias("asked_ids")),
            ["title_id", "ordering"],
            how="left",
        )
        .where(~F.col("artwork_ids").eqNullSafe(F.col("asked_ids")))
    )


def improper(scores: DataFrame) -> DataFrame:
    """Scores that are no probabilities: a wrong number of them, one null, NaN or not in 0 to 1, a sum that is not 1."""
    total = F.aggregate("probabilities", F.lit(0.0), lambda sum_, p: sum_ + p)
    one_to_one = F.size("probabilities") == F.size("artwork_ids")
    proper = F.forall("probabilities", lambda p: ~F.isnan(p) & p.between(0, 1))
    fine = one_to_one & proper & (F.abs(total - 1) <= _SUM_TOLERANCE)
    # What a null leaves unknown is not fine.
    return scores.where(~F.coalesce(fine, F.lit(False)))


def best_artwork(artwork_ids: Column, probabilities: Column) -> Column:
    """The most probable artwork; of equal ones the first by id, as a published ranking has them."""
    return ranked(scored_options(artwork_ids, probabilities))[0]["artwork_id"]


def drift(scores: DataFrame, published: DataFrame) -> DataFrame:
    """pairs, changed: of the rescored pairs the model had scored before, how many have another best artwork."""
    before = published.where("source = 'model'").select(
        "user_id", "title_id", F.col("ranking")[0]["artwork_id"].alias("best_before")
    )
    best = best_artwork(F.col("artwork_ids"), F.col("probabilities"))
    return (
        scores.join(before, ["user_id", "title_id"], how="inner")
        .select((best != F.col("best_before")).cast("int").alias("changed"))
        .agg(F.count("*").alias("pairs"), F.coalesce(F.sum("changed"), F.lit(0)).alias("changed"))
    )


def checks(night: Night) -> dict[str, tuple[float, float]]:
    """Each check's name with what was found and the most that is allowed."""
    settings: Settings = night.settings
    asked = asked_pairs(night.tonight(USER_CONTEXTS)).cache()
    scores = night.tonight(ARTWORK_SCORES).cache()
    rejects = {r["step"]: r["count"] for r in night.tonight(REJECTED_ROWS).groupBy("step").count().collect()}
    unscorable = rejects.get("score", 0)
    wanted = night.tonight(WANTED_PAIRS).agg(F.coalesce(F.sum(F.size("title_ids")), F.lit(0))).collect()[0][0]
    published = published_before(night.input(ARTWORK_SELECTIONS), night.input(ARTWORK_SELECTION_LOG), night.ds)
    moved = drift(scores, published).collect()[0]
    enough = moved["pairs"] >= _DRIFT_PAIRS
    runs = night.tonight(SCORING_RUNS)
    mass = runs.agg(F.try_divide(F.sum(F.col("label_mass") * F.col("pairs")), F.sum("pairs"))).collect()[0][0]
    lost = rejects.get("contexts", 0) + unscorable
    return {
        "pairs neither scored nor rejected": (abs(unanswered(asked, scores).count() - unscorable), 0),
        "scores that nobody asked for": (not_asked(asked, scores).count(), 0),
        "scores for other artworks than were asked": (
            other_artworks(asked, scores, night.tonight(TITLE_CHOICES)).count(),
            0,
        ),
        "scores that are no probabilities": (improper(scores).count(), 0),
        "share of wanted pairs rejected": (lost / wanted if wanted else 0.0, settings.rejected_share_limit),
        "share of best artworks that changed": (
            moved["changed"] / moved["pairs"] if enough else 0.0,
            settings.drift_limit,
        ),
        "probability off the option numbers": (1 - mass if mass is not None else 0.0, 1 - settings.label_mass_floor),
        "model versions beyond one": (max(0, scores.select("model_version").distinct().count() - 1), 0),
    }


def audit(night: Night) -> None:
    """Write `audit_results`; raise ContractError where a check fails."""
    with night.step("audit") as counts:
        found = checks(night)
        rows = [
            {"ds": night.ds, "check": name, "value": float(value), "limit": float(limit), "passed": value <= limit}
            for name, (value, limit) in found.items()
        ]
        night.replace(AUDIT_RESULTS, night.warehouse.frame(AUDIT_RESULTS, rows))
        failed = [f"{r['check']}: {r['value']:g}, at most {r['limit']:g} allowed" for r in rows if not r["passed"]]
        counts.update(checks=len(rows), failed=len(failed))
    if failed:
        raise ContractError(
            f"ds={night.ds} fails its audit, so nothing of it is published: {'; '.join(failed)}. The scores are in "
            f"artwork_scores, the reasons for rejects in rejected_rows"
        )
