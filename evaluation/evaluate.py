"""Estimates the value of policies on the held-out impressions of a post-training run and writes `policy_estimates`: the
logging policy, the baselines, and the greedy choice of each model with scores in `held_out_scores`. A model is given by
its version or its checkpoint's folder.

Differences are to the champion: the model that would score a night now, unless another model or policy is given. On a
sample service each policy's true value is listed with its estimates. With `beside`, a model's scores in another
warehouse on the same impressions are a policy too, named `<version> in <its folder>`: comparing a model with and
without a signal gives the value of the signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from evaluation.bootstrap import bootstrap
from evaluation.estimators import ESTIMATORS, PROMISED, estimates, paired, truth, user_sums
from evaluation.features import (
    artwork_themes,
    learned_play_rates,
    rare_themes,
    vocabulary,
    with_crossed,
    with_matched,
    with_user_themes,
)
from evaluation.gate import ALL
from evaluation.log import KEY, gathered, held_out, options_of, shown_of, training
from evaluation.models import (
    Beside,
    champion_version,
    model_scores,
    probabilities_of,
    version_of,
    with_probabilities_beside,
)
from evaluation.policies import BASELINES, LOGGING, greedy, policy_rows, uniform
from evaluation.regression import FOLDS, cross_fitted, fitted, fold_of, predicted
from evaluation.slices import with_slices
from schemas.contract import ContractError
from schemas.events import report
from schemas.paths import is_in_s3, warehouse_place
from schemas.tables import ARTWORKS, HELD_OUT_SCORES, POLICY_ESTIMATES, POST_TRAINING_EXAMPLES
from spark_jobs.session import materialized
from spark_jobs.splits import HELD_OUT, first_of_splits
from spark_jobs.warehouse import Warehouse

_GROUP = ("policy", "slice_by", "slice")
TruePlay = Callable[[DataFrame], DataFrame]


@dataclass(frozen=True)
class Evaluation:
    """What to evaluate. `models` are versions with scores, including the candidate's and the champion's."""

    warehouse: Warehouse
    ds: date
    candidate: str
    reference: str
    models: tuple[str, ...]
    true_play: TruePlay | None = None
    """Adds true_play, the true probability of a play, to (user_id, artwork_id); None if it is unknown."""
    beside: tuple[Beside, ...] = ()
    against: tuple[str, ...] = ()
    """Further policies to print differences to."""

    def examples(self) -> DataFrame:
        """The examples of ds, in each split at most as many as set now, so that fewer examples can be tried.

        Raises ContractError if none is held out.
        """
        rows = self.warehouse.read(POST_TRAINING_EXAMPLES).where(F.col("ds") == F.lit(self.ds))
        # Kept because it is sorted to find the first ones and read for nearly everything below.
        rows = materialized(first_of_splits(rows, self.warehouse.settings))
        if rows.where(F.col("split") == HELD_OUT).isEmpty():
            raise ContractError(
                f"{POST_TRAINING_EXAMPLES.name}: no held-out rows for ds={self.ds}; run the step examples for it first"
            )
        check_learnable(rows, self.ds)
        return rows


def check_learnable(examples: DataFrame, ds: date) -> None:
    """Raise ContractError if a regression would have no row: the bandit's, or q's for either half of the users."""
    fold = fold_of(F.col("user_id")).alias("fold")
    old = F.col("watched_genres").isNull().alias("old")
    halves = {(row["fold"], row["old"]) for row in held_out(examples).select(fold, old).distinct().collect()}
    if any(old_rows for _, old_rows in halves):
        raise ContractError(
            f"{POST_TRAINING_EXAMPLES.name}: rows for ds={ds} have no watched_genres, as an earlier version of "
            "Marquee made them; run the step examples again"
        )
    lacking = "no training rows" if training(examples).isEmpty() else None
    if lacking is None and len(halves) < FOLDS:
        lacking = "held-out rows of too few users for two halves"
    if lacking:
        raise ContractError(
            f"{POST_TRAINING_EXAMPLES.name}: {lacking} for ds={ds}, so no policy can be evaluated; log more users, or "
            "change MARQUEE_HELD_OUT_SHARE, and run the step examples again"
        )


def with_knowledge(evaluation: Evaluation, examples: DataFrame, artworks: DataFrame) -> DataFrame:
    """The held-out `examples` with these arrays over artwork_ids: q, play_rate, bandit and, on a sample, true_play."""
    themes = vocabulary(artworks)
    known = artwork_themes(artworks, themes).join(
        learned_play_rates(training(examples), artworks), "artwork_id", how="inner"
    )

    past = with_user_themes(training(examples), themes)
    played = shown_of(past, "user_themes", "reward").join(known, "artwork_id", how="inner")
    learnt = fitted(with_crossed(played, len(themes)))
    log = held_out(examples)
    options = options_of(with_user_themes(log, themes), "user_themes", "shown", "reward")
    options = materialized(options.join(known, "artwork_id", how="inner"))
    matched = with_matched(options)
    scored = cross_fitted(matched.where(F.col("option") == F.col("shown") - 1), matched, "q")
    scored = predicted(learnt, with_crossed(scored, len(themes)), "bandit")
    names = ["q", "play_rate", "bandit"]
    if evaluation.true_play is not None:
        scored = evaluation.true_play(scored)
        names.append("true_play")
    complete = F.size("q") == F.size("artwork_ids")  # false if an artwork has left the catalogue
    return log.join(gathered(scored, *names), list(KEY), how="inner").where(complete)


def with_targets(log: DataFrame, evaluation: Evaluation) -> DataFrame:
    """`log` with a column for each policy's target, without impressions that some model did not score."""
    for number, model in enumerate(evaluation.models):
        log = probabilities_of(log, model_scores(evaluation.warehouse, model, evaluation.ds))
        log = log.withColumn(f"model_{number}", greedy(F.col("probabilities"))).drop("probabilities")
    for number, other in enumerate(evaluation.beside):
        log = with_probabilities_beside(log, other, evaluation.warehouse.spark, evaluation.ds)
        log = log.withColumn(f"beside_{number}", greedy(F.col("probabilities"))).drop("probabilities")
    return (
        log.withColumn("random", uniform())
        .withColumn("most_popular", greedy(F.col("play_rate")))
        .withColumn("bandit", greedy(F.col("bandit")))
    )


def target_columns(evaluation: Evaluation) -> dict[str, str]:
    """The column of each policy's target."""
    return (
        {name: name for name in BASELINES}
        | {model: f"model_{number}" for number, model in enumerate(evaluation.models)}
        | {other.policy: f"beside_{number}" for number, other in enumerate(evaluation.beside)}
    )


def check_scored(log: DataFrame, scored: DataFrame, evaluation: Evaluation) -> None:
    """Raise ContractError if models did not score more of the log than may be rejected."""
    total, complete = log.count(), scored.count()
    limit = evaluation.warehouse.settings.rejected_share_limit
    report("evaluate", f"{complete:,} of {total:,} held-out impressions have an answer of every policy")
    if total - complete > limit * total:
        models = ", ".join((*evaluation.models, *(other.policy for other in evaluation.beside)))
        raise ContractError(
            f"{HELD_OUT_SCORES.name}: {total - complete:,} of {total:,} held-out impressions lack scores of {models} "
            f"or have an artwork that left the catalogue; at most {limit:.0%} may. Score the same ds with each model"
        )


def evaluate(evaluation: Evaluation) -> None:
    """Write the candidate's rows of `policy_estimates` for ds."""
    examples, artworks = evaluation.examples(), evaluation.warehouse.read(ARTWORKS)
    log = with_targets(with_knowledge(evaluation, examples, artworks), evaluation)
    log = materialized(with_slices(log, examples, artworks, rare_themes(artworks)))
    check_scored(held_out(examples), log, evaluation)
    rows = policy_rows(log, target_columns(evaluation), "slices")
    estimators = ESTIMATORS if evaluation.true_play is None else {**ESTIMATORS, truth.__name__: truth}
    sums = materialized(user_sums(rows.select("*", F.inline("slices")).drop("slices"), _GROUP, estimators))
    found = (
        estimates(sums, _GROUP, evaluation.reference)
        .withColumn("ds", F.lit(evaluation.ds))
        .withColumn("candidate", F.lit(evaluation.candidate))
    )
    evaluation.warehouse.create_missing([POLICY_ESTIMATES])
    evaluation.warehouse.replace(POLICY_ESTIMATES, found.coalesce(1), ds=evaluation.ds, candidate=evaluation.candidate)
    _report_all(evaluation, sums.where(F.col("slice_by") == ALL))


def _report_all(evaluation: Evaluation, sums: DataFrame) -> None:
    """Report the estimates over the whole log, and the bootstrap interval of the candidate's difference."""
    rows = (
        evaluation.warehouse.read(POLICY_ESTIMATES)
        .where((F.col("ds") == F.lit(evaluation.ds)) & (F.col("candidate") == evaluation.candidate))
        .where(F.col("slice_by") == ALL)
    )
    _report(rows, evaluation.reference)
    compared = paired(sums, _GROUP, evaluation.reference).where(F.col("policy") == evaluation.candidate)
    for row in bootstrap(compared, _GROUP).where(F.col("estimator").isin(*PROMISED)).orderBy("estimator").collect():
        report(
            "evaluate",
            f"bootstrap of {evaluation.candidate}, {row['estimator']}: {row['low']:.4f} to {row['high']:.4f}, "
            f"difference {row['difference_low']:+.4f} to {row['difference_high']:+.4f}",
        )
    for reference in evaluation.against:
        further = estimates(sums, _GROUP, reference)
        _report(further.where(F.col("estimator").isin(*PROMISED, truth.__name__)), reference)


def _report(rows: DataFrame, reference: str) -> None:
    table = lines([row.asDict() for row in rows.orderBy("estimator", "policy").collect()], reference)
    report("evaluate", "\n" + "\n".join(table))


def lines(rows: Sequence[dict[str, object]], reference: str) -> list[str]:
    """The estimates as a table for the terminal."""
    table = [f"{'estimator':<12} {'policy':<36} {'value':>8} {'95 % interval':>18}  difference to {reference}"]
    for row in rows:
        head = f"{row['estimator']:<12} {row['policy']:<36}"
        if row["value"] is None:
            table.append(f"{head} {'refused':>8} {row['refused']}")
            continue
        change = "no difference: the reference was refused"
        if row["difference"] is not None:
            change = f"{row['difference']:+.4f} ({row['difference_low']:+.4f} to {row['difference_high']:+.4f})"
        table.append(f"{head} {row['value']:>8.4f} {row['low']:>8.4f} to {row['high']:.4f}  {change}")
    return table


def evaluate_models(
    warehouse: Warehouse,
    ds: date,
    candidate: str,
    champion: str | None = None,
    models: Sequence[str] = (),
    beside: Sequence[str] = (),
    against: Sequence[str] = (),
    true_play: TruePlay | None = None,
) -> None:
    """Evaluate `candidate` and `models`, each a version or a checkpoint's folder, with true values if `true_play` is
    given. `beside` are `MODEL in WAREHOUSE`; `against` are further policies to print differences to.

    Raises ContractError if two of `beside` have the same name or one of `against` is not evaluated.
    """
    version = version_of(candidate)
    reference = champion_version(champion, warehouse.settings)
    others = [version_of(name) for name in (reference, *models) if name not in (LOGGING, *BASELINES)]
    places = [_model_and_warehouse(each, warehouse.settings.warehouse) for each in beside]
    elsewhere = tuple(
        Beside(warehouse.settings.model_copy(update={"warehouse": folder}), version_of(model))
        for model, folder in places
    )
    if len({other.policy for other in elsewhere}) < len(elsewhere):
        raise ContractError(
            f"--beside: two of {', '.join(other.policy for other in elsewhere)} have the same name; give warehouses "
            "whose folders' names differ"
        )
    # As with --model, a folder means the version of the checkpoint in it.
    named = {
        replace(other, model=model).policy: other.policy for (model, _), other in zip(places, elsewhere, strict=True)
    }
    references = tuple(named.get(name) or version_of(name) for name in against)
    all_models = tuple(dict.fromkeys([version, *others]))
    evaluation = Evaluation(warehouse, ds, version, reference, all_models, true_play, elsewhere, references)
    if unknown := set(references) - {LOGGING, *target_columns(evaluation)}:
        raise ContractError(
            f"--against {', '.join(sorted(unknown))}: not among the evaluated policies; add it with --model"
        )
    evaluate(evaluation)


def _model_and_warehouse(text: str, own: str) -> tuple[str, str]:
    model, separator, folder = text.rpartition(" in ")
    if not separator:
        raise ContractError(f"--beside is {text!r}, expected 'MODEL in WAREHOUSE'")
    other = warehouse_place(folder)
    if is_in_s3(other) and not is_in_s3(own):
        raise ContractError(
            f"--beside is {text!r}, but Spark reads S3 only for a warehouse that is there, and {own} is not: copy one "
            "of the two to where the other is"
        )
    return model, other
