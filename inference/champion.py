"""The champion: the model version that scores, as the registry (MLflow) holds it.

`training/registry.py` promotes and rolls back; here it is only looked up. A version's `source` is its checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from inference.checkpoint import Checkpoint, read_checkpoint
from schemas.contract import ContractError
from schemas.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL_NAME = "marquee"
"""Of the registered model whose versions are Marquee's checkpoints."""
CHAMPION = "champion"
VERSION_TAG = "model_version"
"""Tag of a registered version: the checkpoint's own version, as every scored row has it."""

SQLITE = "sqlite:///"
# Of what is not there yet.
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


def model_of_tonight(settings: Settings) -> Checkpoint:
    """The champion's checkpoint; that of the setting `model` where there is no registry or no champion in it.

    Raises ContractError where prompts would lack a signal that it was trained with.
    """
    model = champion(settings) or read_checkpoint(settings.model)
    missing = sorted(set(model.signals) - set(settings.signals))
    if missing:
        raise ContractError(
            f"{model.version} was trained with the signals {', '.join(model.signals)}, and the setting signals leaves "
            f"out {', '.join(missing)}: set MARQUEE_SIGNALS='{json.dumps(model.signals)}', or roll back to a model "
            "without them (python -m training.registry rollback)"
        )
    return model


def champion(settings: Settings) -> Checkpoint | None:
    """The champion's checkpoint, if there is one. Raises ContractError where it is not what was registered."""
    if settings.registry is None or _not_made_yet(settings.registry):
        return None
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=settings.registry, registry_uri=settings.registry)
    try:
        registered = client.get_model_version_by_alias(MODEL_NAME, CHAMPION)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise
    return _as_registered(registered, settings.registry)


def _as_registered(registered: ModelVersion, registry: str) -> Checkpoint:
    who = f"the champion, version {registered.version} in {registry},"
    try:
        checkpoint = read_checkpoint(str(registered.source))
    except ContractError as error:
        raise ContractError(
            f"{who} cannot score: {error}. Or promote it from where it is now, or roll back "
            "(python -m training.registry promote FOLDER | rollback)"
        ) from error
    expected = registered.tags.get(VERSION_TAG)
    if checkpoint.version != expected:
        raise ContractError(
            f"{who} was registered as {expected}, but the checkpoint at {registered.source} is "
            f"{checkpoint.version}: put that checkpoint back, or roll back (python -m training.registry rollback)"
        )
    return checkpoint


def _not_made_yet(registry: str) -> bool:
    """Whether the registry is a SQLite file that is not there: asking MLflow would make it."""
    return registry.startswith(SQLITE) and not Path(registry.removeprefix(SQLITE)).exists()
