"""Commands that make nights and read their results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from marquee.command import Command, application, clean_up_when_ended
from marquee.options import Ds, Id, LatestDs, Warehouse, configured, folder, ids_in, model_place, parser
from schemas.arguments import night_date, place
from schemas.settings import PREFIX
from schemas.steps import note_failure
from schemas.tables import NIGHT_STEPS, POST_TRAINING_STEPS

ServiceName = Literal["simulated", "movielens"]
STEPS = {
    "validate": "Check the inputs, note their versions and the model, and write the rejected rows.",
    "candidates": "Choose the pairs of user and title that need an artwork.",
    "contexts": "Write the model's questions: users' contexts and titles' choices.",
    "audit": "Check the night's scores before they are published.",
    "publish": "Draw each pair's artwork and publish the night.",
    "examples": "Turn logged impressions into examples for post-training.",
}
"""The dated Spark steps, each a function of its name in the module of its name."""


def night(
    ds: LatestDs = None,
    warehouse: Warehouse = None,
    service: Annotated[ServiceName, typer.Option(help="The sample for a warehouse without tables.")] = ("simulated"),
    movielens: Annotated[
        Path | None, typer.Option(parser=folder, metavar="FOLDER", help="MovieLens 100K, for --service movielens.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(parser=Id, metavar="ID", help="Print this user's choices. Default: 42, or any user.")
    ] = None,
) -> None:
    """Run one night on this machine: a sample if there are no tables, Airflow's DAG, then a summary and a lookup."""
    from examples.sample import fill_once
    from schemas.store import last_day
    from serving.console import wide_console
    from serving.lookup import lookup_table
    from serving.summary import summary_tables

    config = configured(warehouse)
    clean_up_when_ended()
    fill_once(config.warehouse, service, movielens)
    day = ds or last_day(config.warehouse)
    run_here("artwork_nightly", day)
    wide_console().print(summary_tables(config.warehouse, day))
    wide_console().print(lookup_table(config.warehouse, user, None))


def run_here(dag: str, ds: date) -> None:
    """Run a DAG on this machine, with one driver for its Spark steps if Spark is local."""
    from scheduling.local import airflow_home, has_local_spark, log_of, run_dag
    from spark_jobs.session import shared_driver

    env = airflow_home()
    if not has_local_spark(env):
        run_dag(dag, ds, env)
        return
    os.environ.update(env)
    with shared_driver(log_of(env, f"{dag}-{ds}-spark")) as driver:
        run_dag(dag, ds, {**env, f"{PREFIX}SPARK_DRIVER": driver})


def score(
    ds: Ds,
    shard: Annotated[int, typer.Option(min=0, help="The shard, from 0.")] = 0,
    shards: Annotated[int, typer.Option(min=1, help="The number of shards; 1 scores all buckets.")] = 1,
    model: Annotated[
        str | None,
        typer.Option(parser=model_place, metavar="FOLDER|URI", help="A checkpoint. Default: the night's own."),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(parser=parser(place), metavar="FOLDER|URI", help="Another warehouse to write the scores to."),
    ] = None,
    warehouse: Warehouse = None,
) -> None:
    """Score one shard of a night: the buckets b with b % SHARDS = SHARD, a commit each; skip finished buckets."""
    from inference.checkpoint import read_checkpoint
    from inference.job import ScoringJob
    from inference.progress import log_to_stderr
    from inference.score import score_shard

    if shard >= shards:
        raise typer.BadParameter(f"--shard is {shard}, but counts from 0 to {shards - 1}, which is --shards less 1")
    log_to_stderr()
    config = configured(warehouse)
    checkpoint = read_checkpoint(model).quantized(config.quantization) if model else None
    score_shard(ScoringJob(config.warehouse, ds, into), config, shard, shards, checkpoint)


def accept(
    ds: Ds,
    reason: Annotated[str, typer.Option(help="Why the change is meant; kept in audit_results.")],
    warehouse: Warehouse = None,
) -> None:
    """Accept what the audit of a night refused to change; then run the audit again."""
    from scheduling.accept import accept

    if not reason.strip():
        raise typer.BadParameter("--reason is blank")
    for check in accept(configured(warehouse).warehouse, ds, reason):
        print(f"accepted: {check}")
    print(f"now run the audit again: clear the task audit of the night in Airflow, or marquee step audit --ds {ds}")


def undo(ds: Ds, warehouse: Warehouse = None) -> None:
    """Undo a published night: the choices from before it stand again, and later nights' own choices stay."""
    from spark_jobs.undo import undo as work
    from spark_jobs.warehouse import Night, open_warehouse

    configured(warehouse)
    with open_warehouse("marquee undo") as opened:
        work(Night(opened, ds))
    print(f"Run the night again from its first task once its cause is gone: marquee night --ds {ds}, or in Airflow.")
    print("Later nights that are not published yet begin again too: clear them from the task validate.")


def erase(
    users: Annotated[
        list[str] | None, typer.Argument(parser=Id, metavar="USER...", help="Their ids; after -- if one begins with -.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(parser=folder, metavar="FILE", help="A file with further ids, one a line.")
    ] = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove also the files of old versions that hold them.")
    ] = False,
    warehouse: Warehouse = None,
) -> None:
    """Erase users from all tables that Marquee writes, for good; print what went, what remains, and where."""
    from scheduling.erase import erase
    from serving.console import wide_console
    from training.trained_on import trained_on

    erased = {*(users or ()), *(ids_in(file) if file else ())}
    if not erased:
        raise typer.BadParameter("no user is given: marquee erase USER…, or --file FILE with an id a line")
    wide_console().print(
        erase(configured(warehouse), erased, purge, datetime.now(UTC), trained_on),
        # A path is one line, however long.
        soft_wrap=True,
    )


def summary(ds: Ds, warehouse: Warehouse = None) -> None:
    """Print the results of a night: rows in, rejected, pairs, scored, carried, published, checks, seconds per step."""
    from serving.console import wide_console
    from serving.summary import summary_tables

    wide_console().print(summary_tables(configured(warehouse).warehouse, ds))


def nights(
    last: Annotated[int, typer.Option(min=1, help="The number of nights.")] = 14,
    plot: Annotated[
        Path | None, typer.Option(parser=folder, metavar="FILE", help="Draw them, as .png, .svg or .pdf.")
    ] = None,
    warehouse: Warehouse = None,
) -> None:
    """Print the last nights side by side: rows, pairs, what changed, seconds, and the audit's verdict."""
    from serving.console import wide_console
    from serving.nights import draw, last_nights, nights_table

    found = last_nights(configured(warehouse).warehouse, last)
    wide_console().print(nights_table(found))
    if plot:
        draw(found, plot)
        print(f"drawn in {plot}")


def lookup(
    user: Annotated[str | None, typer.Option(parser=Id, metavar="ID", help="Default: 42, or the first user.")] = None,
    title: Annotated[str | None, typer.Option(parser=Id, metavar="ID", help="Default: all titles.")] = None,
    warehouse: Warehouse = None,
) -> None:
    """Print the artworks that a user should see."""
    from serving.console import wide_console
    from serving.lookup import lookup_table

    wide_console().print(lookup_table(configured(warehouse).warehouse, user, title))


def explain(
    user: Annotated[str, typer.Option(parser=Id, metavar="ID", help="The user.")],
    title: Annotated[str, typer.Option(parser=Id, metavar="ID", help="The title.")],
    ds: Annotated[
        date | None,
        typer.Option(
            "--ds", parser=parser(night_date), metavar="YYYY-MM-DD", help="As it was after this night. Default: now."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    reason: Annotated[
        bool, typer.Option("--reason", help="Ask the model of MARQUEE_TEACHER for one sentence, too.")
    ] = False,
    warehouse: Warehouse = None,
) -> None:
    """Explain why a user sees an artwork: the question and its answer, the draw, the model, and what changed it."""
    from inference.champion import verdict_on
    from inference.checkpoint import MANIFEST, labels_of, quantization_of
    from inference.prior import read_prior
    from inference.reasons import Reasons, reason_for
    from serving.console import wide_console
    from serving.explain import explained, explanation

    config = configured(warehouse)
    found = explanation(config, user, title, ds)
    reasons = Reasons.of(config) if reason else None
    found["reason"] = {"by": reasons and reasons.version, "text": reason_for(found, reasons)} if reason else None
    version, folder, prior = found["model_version"], found["checkpoint"], None
    if folder and Path(folder, MANIFEST).is_file():
        by_options = read_prior(Path(folder), quantization_of(version)).by_options
        prior = by_options.get(len(found["options"]))
        if found["question"]:
            found["question"]["choice"] = labels_of(Path(folder)).put_in(found["question"]["choice"])
    verdict = verdict_on(config.registry, version) if version else None
    if as_json:
        print(json.dumps({**found, "prior": prior, "verdict": verdict}, indent=1, ensure_ascii=False, default=str))
    else:
        wide_console().print(explained(found, list(prior) if prior else None, verdict))


def browse(
    host: Annotated[str, typer.Option(help="The address to listen at. Any but this machine's own needs --token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free one.")] = 8765,
    token: Annotated[str | None, typer.Option(help="What a reader must know; asked for once.")] = None,
    warehouse: Warehouse = None,
) -> None:
    """Show choices, titles, nights and models with their pictures on a read-only web page, until Ctrl-C."""
    from browsing.server import serve
    from inference.reasons import Reasons

    if token is not None and not token.strip():
        raise typer.BadParameter("--token is blank")
    config = configured(warehouse)
    serve(config, host, port, token, Reasons.of(config))


def fingerprint(
    warehouse: Warehouse = None,
    other: Annotated[
        str | None,
        typer.Option(
            parser=parser(place), metavar="FOLDER|URI", help="Another warehouse; the exit status is 1 if they differ."
        ),
    ] = None,
) -> None:
    """Count and hash the rows of every table, independent of row order and files, to compare runs."""
    from serving.console import wide_console
    from serving.fingerprint import fingerprint_table, fingerprints

    ours = fingerprints(configured(warehouse).warehouse)
    theirs = fingerprints(other) if other else None
    wide_console().print(fingerprint_table(ours, theirs))
    if theirs is not None and theirs != ours:
        raise typer.Exit(1)


def backfill(
    first: Annotated[date, typer.Argument(parser=parser(night_date), metavar="FIRST", help="The first night.")],
    last: Annotated[date, typer.Argument(parser=parser(night_date), metavar="LAST", help="The last night, included.")],
    again: Annotated[bool, typer.Option("--again", help="Repeat nights that have a run.")] = False,
    at_once: Annotated[int, typer.Option(min=1, help="Most nights that run at a time.")] = 3,
) -> None:
    """Queue past nights in the Airflow of `marquee airflow`."""
    from scheduling.local import backfill as create

    create(first, last, again, at_once)
    print(f"Nights from {first} to {last} are queued; `marquee airflow` must be running. List them with:")
    print("    . scripts/env.sh; airflow dags list-runs artwork_nightly")


def _dated_step(name: str) -> Callable[..., None]:
    def run(ds: Ds, warehouse: Warehouse = None) -> None:
        from spark_jobs.warehouse import Night, open_warehouse

        config = configured(warehouse)
        with ExitStack() as started:
            try:
                opened = started.enter_context(open_warehouse(f"marquee {name}"))
            except Exception as error:
                # Spark did not start.
                kept_in = POST_TRAINING_STEPS if name == "examples" else NIGHT_STEPS
                note_failure(config.warehouse, kept_in, ds, name, error, 0, {})
                raise
            getattr(import_module(f"spark_jobs.{name}"), name)(Night(opened, ds))

    return run


def maintain(warehouse: Warehouse = None) -> None:
    """Remove what old nights left, compact the tables, and remove files that only old versions need."""
    from spark_jobs.maintain import maintain as work
    from spark_jobs.warehouse import open_warehouse

    configured(warehouse)
    with open_warehouse("marquee maintain") as opened:
        work(opened)


def add_to(app: typer.Typer) -> None:
    made: list[Callable[..., None]] = [night, score, summary, nights, accept, undo, backfill, erase]
    read: list[Callable[..., None]] = [browse, lookup, explain, fingerprint]
    for panel, commands in (("Nights", made), ("Published choices", read)):
        for command in commands:
            app.command(cls=Command, rich_help_panel=panel)(command)
    steps = application("Run one Spark step of a night or of post-training, by spark-submit or here.")
    for name, about in STEPS.items():
        steps.command(name, cls=Command, help=about)(_dated_step(name))
    steps.command(cls=Command)(maintain)
    app.add_typer(steps, name="step", rich_help_panel="Nights")
