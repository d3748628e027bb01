"""Commands that train a model, estimate its value, and decide whether it scores."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from marquee.command import Command, application, clean_up_when_ended
from marquee.night_commands import run_here
from marquee.options import Ds, LatestDs, Warehouse, configured, model_place
from schemas.settings import SIGNALS
from training.settings import RECIPES, Common

Signal = StrEnum("Signal", SIGNALS)  # type: ignore[misc]
ModelPlace = Annotated[str, typer.Argument(parser=model_place, metavar="FOLDER|URI", help="A checkpoint.")]


def post_training(ds: LatestDs = None, warehouse: Warehouse = None) -> None:
    """Run Airflow's post-training DAG on this machine: train on plays, evaluate, promote the model if it is better."""
    from schemas.store import last_day
    from training.registry import Registry

    config = configured(warehouse)
    clean_up_when_ended()
    day = ds or last_day(config.warehouse)
    # Opened first, so that a wrong registry is found before hours of training.
    registry = Registry(config.registry)
    run_here("artwork_post_training", day)
    print(registry.describe())
    print(f"The candidate's report: {config.checkpoints}/{day}/distilled/report.html")


def score_held_out(
    ds: Ds,
    model: Annotated[str | None, typer.Option(parser=model_place, metavar="FOLDER|URI", help="A checkpoint.")] = None,
    champion: Annotated[bool, typer.Option("--champion", help="Use the model that a night would use now.")] = False,
    orders: Annotated[
        int | None, typer.Option(min=2, help="Score each question in so many rotations and take the mean.")
    ] = None,
    warehouse: Warehouse = None,
) -> None:
    """Score the held-out questions of a post-training run with one model, by the code that scores a night."""
    from inference.champion import model_of_tonight
    from inference.checkpoint import read_checkpoint
    from inference.held_out import score_held_out as score
    from inference.progress import log_to_stderr

    if (model is None) != champion:
        raise typer.BadParameter("give either --model FOLDER or --champion")
    log_to_stderr()
    config = configured(warehouse)
    score(
        ds,
        model_of_tonight(config).model if model is None else read_checkpoint(model).quantized(config.quantization),
        config,
        orders,
    )


def evaluate(
    ds: Ds,
    candidate: Annotated[
        str, typer.Option(metavar="MODEL", help="The model to evaluate: a version, or a checkpoint's folder.")
    ],
    champion: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY", help="The model or policy to compare with. Default: the model that would score now."
        ),
    ] = None,
    model: Annotated[list[str], typer.Option(metavar="MODEL", help="Another model to show; may be repeated.")] = [],  # noqa: B006
    beside: Annotated[
        list[str],
        typer.Option(metavar="'MODEL in WAREHOUSE'", help="A model's scores on another warehouse's prompts."),
    ] = [],  # noqa: B006
    against: Annotated[
        list[str],
        typer.Option(metavar="POLICY", help="Also print differences to this policy; may be repeated."),
    ] = [],  # noqa: B006
    warehouse: Warehouse = None,
) -> None:
    """Estimate the value of policies on held-out impressions."""
    from evaluation.evaluate import evaluate_models
    from examples.true_values import true_play_of
    from spark_jobs.warehouse import open_warehouse

    configured(warehouse)
    with open_warehouse("marquee evaluate") as opened:
        true_play = true_play_of(opened.settings.warehouse)
        evaluate_models(opened, ds, candidate, champion, model, beside, against, true_play)


def report(
    ds: Ds,
    candidate: Annotated[str, typer.Option(metavar="MODEL", help="The evaluated model: a version, or a folder.")],
    out: Annotated[str, typer.Option(parser=model_place, metavar="FILE|URI", help="The page to write.")],
    champion: Annotated[
        str | None, typer.Option(metavar="POLICY", help="Default: the model that would score now.")
    ] = None,
    warehouse: Warehouse = None,
) -> None:
    """Write the evaluation of a candidate as one HTML page."""
    from evaluation.report import write_report
    from spark_jobs.warehouse import open_warehouse

    configured(warehouse)
    with open_warehouse("marquee report") as opened:
        write_report(opened, ds, candidate, champion, out)


def judge(model: ModelPlace, ds: Ds, warehouse: Warehouse = None) -> None:
    """Promote a candidate if its estimates are good enough; register it with the verdict in any case."""
    from training.judge import judge as work

    work(model, ds, configured(warehouse))


def models_list(warehouse: Warehouse = None) -> None:
    """Print every registered version, and which is champion."""
    from training.registry import Registry

    print(Registry(configured(warehouse).registry).describe())


def models_check(warehouse: Warehouse = None) -> None:
    """Refuse what would fail post-training after hours: a wrong registry, or a quantization. Print the versions."""
    from training.command import check_unquantized
    from training.registry import Registry

    config = configured(warehouse)
    check_unquantized()
    print(Registry(config.registry).describe())


def promote(model: ModelPlace, warehouse: Warehouse = None) -> None:
    """Make a checkpoint the champion, in the quantization of the settings: it scores from the next night on."""
    from inference.checkpoint import read_checkpoint
    from training.registry import Registry

    config = configured(warehouse)
    registry = Registry(config.registry)
    registry.promote(registry.register(read_checkpoint(model).quantized(config.quantization)))
    print(registry.describe())


def rollback(warehouse: Warehouse = None) -> None:
    """Make the previous champion the champion again, from the next night on."""
    from training.registry import Registry

    registry = Registry(configured(warehouse).registry)
    if registry.rollback() is None:
        print("the first champion is rolled back: the setting `model` scores again")
    print(registry.describe())


def manifest(
    model: ModelPlace,
    name: Annotated[str, typer.Option(help="The name under which its scores are published.")],
    signals: Annotated[
        list[Signal],
        typer.Option("--signal", help="A signal in its prompts, as in the setting `signals`; may be repeated."),
    ] = [],  # noqa: B006
) -> None:
    """Check a checkpoint and write its manifest, marquee.json, without which it cannot score."""
    from inference.checkpoint import write_manifest

    print(write_manifest(model, name, [signal.value for signal in signals]).version)


def prior(model: ModelPlace, ds: Ds, warehouse: Warehouse = None) -> None:
    """Measure a checkpoint's label prior, in the quantization of the settings, on the training examples of a day."""
    from inference.progress import log_to_stderr
    from training.engine_prior import write_prior

    log_to_stderr()
    print(write_prior(model, ds, configured(warehouse)).version)


def reasons(
    ds: Ds,
    model: Annotated[str, typer.Option(parser=model_place, metavar="FOLDER|URI", help="The teacher's checkpoint.")],
    limit: Annotated[int, typer.Option(min=0, help="Most plays to explain; 0 for all.")] = 0,
    reason_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a reason.")] = 48,
    warehouse: Warehouse = None,
) -> None:
    """Generate reasons for plays with a larger model; the recipe `reasoning` can learn from them."""
    from inference.checkpoint import read_checkpoint
    from inference.progress import log_to_stderr
    from inference.teacher import teach

    log_to_stderr()
    teach(ds, read_checkpoint(model), configured(warehouse), reason_tokens, limit)


def _recipe_command(name: str, recipe: type[Common]) -> Callable[..., None]:
    """A command with an option for each field of the recipe's settings."""

    def run(
        ds: Ds,
        base: Annotated[
            str, typer.Option(parser=model_place, metavar="FOLDER|URI", help="The checkpoint to start from.")
        ],
        out: Annotated[str, typer.Option(parser=model_place, metavar="FOLDER|URI", help="The checkpoint to write.")],
        called: Annotated[
            str | None, typer.Option("--name", help="Name of its scores. Default: the base's and the recipe's.")
        ] = None,
        warehouse: Warehouse = None,
        **values: Any,
    ) -> None:
        from training.command import train

        configured(warehouse)
        train(name, ds, base, out, called, values)

    common = [each for each in Signature.from_callable(run, eval_str=True).parameters.values() if each.name != "values"]
    own = [
        Parameter(field, Parameter.KEYWORD_ONLY, default=_default(each.default), annotation=_option(field, each))
        for field, each in recipe.model_fields.items()
    ]
    run.__signature__ = Signature([*common, *own])  # type: ignore[attr-defined]
    run.__doc__ = recipe.__doc__
    return run


def _default(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _option(name: str, field: Any) -> Any:
    many = isinstance(field.default, tuple)
    kind: Any = list[str] if many else type(field.default)
    return Annotated[
        kind,
        typer.Option(
            "--" + name.replace("_", "-"),
            help=field.description + ("; may be repeated" if many else ""),
            rich_help_panel="The recipe's settings",
        ),
    ]


def add_to(app: typer.Typer) -> None:
    panel = "A model of your own"
    train = application("Run one recipe of post-training; a rerun resumes, or skips finished work.")
    for name, recipe in RECIPES.items():
        train.command(name, cls=Command)(_recipe_command(name, recipe))
    train.command(cls=Command)(reasons)
    app.add_typer(train, name="train", rich_help_panel=panel)
    stages: list[Callable[..., None]] = [post_training, score_held_out, evaluate, report, judge]
    for command in stages:
        app.command(cls=Command, rich_help_panel=panel)(command)
    models = application("The versions of the model in the registry, and their champion.")
    models.command("list", cls=Command)(models_list)
    models.command("check", cls=Command)(models_check)
    changes: list[Callable[..., None]] = [promote, rollback, manifest, prior]
    for command in changes:
        models.command(cls=Command)(command)
    app.add_typer(models, name="models", rich_help_panel=panel)
