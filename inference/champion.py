"""The champion: the model version that scores, according to the registry (MLflow).

This module only looks it up; `training/registry.py` promotes and rolls back. A version's `source` is its checkpoint.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.checkpoint import Checkpoint, quantization_of, read_checkpoint
from schemas.contract import ContractError
from schemas.paths import sqlite_file, without_password
from schemas.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

MODEL_NAME = "marquee"
"""Name of the registered model whose versions are Marquee's checkpoints."""
CHAMPION = "champion"
VERSION_TAG = "model_version"
"""Tag of a registered version: the checkpoint's own version, which every scored row has."""


@dataclass(frozen=True)
class Chosen:
    """The model that scores, and the reason in words."""

    model: Checkpoint
    why: str


def model_of_tonight(settings: Settings) -> Chosen:
    """The champion's checkpoint, in the quantization with which it was registered. Without a registry or a champion,
    the checkpoint of the setting `model`, in the quantization of the settings.

    Raises ContractError if prompts would lack a signal that the model was trained with.
    """
    chosen = _chosen(settings)
    model = chosen.model
    missing = sorted(set(model.signals) - set(settings.signals))
    if missing:
        raise ContractError(
            f"{model.version} was trained with the signals {', '.join(model.signals)}, and the setting signals leaves "
            f"out {', '.join(missing)}: set MARQUEE_SIGNALS='{json.dumps(model.signals)}', or roll back to a model "
            "without them (marquee models rollback)"
        )
    return chosen


def _chosen(settings: Settings) -> Chosen:
    if settings.registry is None:
        return Chosen(_as_set(settings), "MARQUEE_MODEL, as MARQUEE_REGISTRY names no registry")
    place = without_password(settings.registry)
    registered = champion(settings.registry)
    if registered is None:
        return Chosen(_as_set(settings), f"MARQUEE_MODEL, as there is no champion in {place}")
    who = f"the champion, version {registered.version} in {place}"
    return Chosen(_as_registered(registered, who), who)


def _as_set(settings: Settings) -> Checkpoint:
    return read_checkpoint(settings.model).quantized(settings.quantization)


def client_of(registry: str) -> MlflowClient:
    """An MLflow client for a registry's address. Raises ContractError if MLflow cannot open it.

    MLflow creates a missing SQLite file, but not its folder; this function does.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DatabaseError

    if (file := sqlite_file(registry)) is not None:
        try:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ContractError(f"MARQUEE_REGISTRY is {registry!r}, whose folder cannot be made: {error}") from error
        # MLflow would retry for minutes.
        if Path(file).is_dir():
            raise ContractError(f"MARQUEE_REGISTRY is {registry!r}: {file} is a folder; give a file in it")
        if not os.access(Path(file) if Path(file).exists() else Path(file).parent, os.W_OK):
            raise ContractError(
                f"MARQUEE_REGISTRY is {registry!r}: this user may not write {file}, and MLflow writes when it opens; "
                "have its owner grant that"
            )
    try:
        return MlflowClient(tracking_uri=registry, registry_uri=registry)
    except (MlflowException, DatabaseError) as error:
        raise ContractError(
            f"MARQUEE_REGISTRY is {without_password(registry)!r}, which MLflow cannot open: {error}"
        ) from error


def registered_model(client: MlflowClient) -> RegisteredModel | None:
    """The model whose versions are Marquee's checkpoints; None before the first version is registered."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(MODEL_NAME)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def champion(registry: str) -> ModelVersion | None:
    """The version that is champion in a registry, if there is one."""
    client = client_of_existing(registry)
    model = registered_model(client) if client else None
    number = model.aliases.get(CHAMPION) if model else None
    return client.get_model_version(MODEL_NAME, number) if client and number is not None else None


def verdict_on(registry: str | None, model_version: str) -> str | None:
    """The gate's last verdict on a model that a registry has; None without registry, version or verdict."""
    client = client_of_existing(registry) if registry else None
    if client is None or registered_model(client) is None:
        return None
    known = client.search_model_versions(f"name='{MODEL_NAME}'")
    found = [each for each in known if each.tags.get(VERSION_TAG) == model_version]
    return max(found, key=lambda each: int(each.version)).tags.get("verdict") if found else None


def client_of_existing(registry: str) -> MlflowClient | None:
    """A client; None for a SQLite file that does not exist: MLflow would create it, which takes a while."""
    file = sqlite_file(registry)
    return None if file is not None and not Path(file).exists() else client_of(registry)


def _as_registered(registered: ModelVersion, who: str) -> Checkpoint:
    """The champion's checkpoint. Raises ContractError if it is not the one that was registered."""
    expected = registered.tags.get(VERSION_TAG)
    try:
        checkpoint = read_checkpoint(str(registered.source)).quantized(quantization_of(str(expected)))
    except ContractError as error:
        raise ContractError(
            f"{who}, cannot score: {error}. Or promote it from its present folder, or roll back "
            "(marquee models promote FOLDER | rollback)"
        ) from error
    if checkpoint.version != expected:
        raise ContractError(
            f"{who}, was registered as {expected}, but the checkpoint at {registered.source} is "
            f"{checkpoint.version}: put that checkpoint back, or roll back (marquee models rollback)"
        )
    return checkpoint
