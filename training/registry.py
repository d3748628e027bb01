"""The registry of model versions (MLflow, at MARQUEE_REGISTRY): `marquee models`. `promote` makes a checkpoint the
champion, which scores from the next night on. Each `rollback` goes back one champion; after the first champion there is
none, and the setting `model` scores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from inference.champion import CHAMPION, MODEL_NAME, VERSION_TAG, client_of, client_of_existing, registered_model
from inference.checkpoint import Checkpoint
from schemas.contract import ContractError
from schemas.paths import is_uri, sqlite_file

EARLIER_TAG = "earlier_champions"
"""Tag of the registered model: the versions that were champion earlier, oldest first: `1,2`."""


class Registry:
    """The versions of Marquee's model in an MLflow registry."""

    def __init__(self, uri: str | None, checkpoints: str = "") -> None:
        """`checkpoints`, if in an object store, is where a registry in a file keeps its runs' pages, too."""
        if uri is None:
            raise ContractError(
                "MARQUEE_REGISTRY is not set: it names the MLflow registry, such as sqlite:////data/registry.db"
            )
        self._uri = uri
        file = sqlite_file(uri)
        # Reading makes no registry: MLflow would create its file.
        self._opened = client_of_existing(uri)
        if self._opened is None and file:
            _check_can_be_made(file)
        # Beside the checkpoints or the database if that is a file, else where the server keeps artifacts.
        beside = checkpoints if is_uri(checkpoints) else str(Path(file).parent) if file else ""
        self._artifacts = f"{beside}/runs" if file else None

    @property
    def _client(self) -> MlflowClient:
        """The client to write with, which makes a registry that does not exist."""
        self._opened = self._opened or client_of(self._uri)
        return self._opened

    def _known(self) -> RegisteredModel | None:
        # Another process may have made the registry since.
        self._opened = self._opened or client_of_existing(self._uri)
        return registered_model(self._opened) if self._opened else None

    def keep_run(
        self, name: str, figures: Mapping[str, float], tags: Mapping[str, str], texts: Mapping[str, str]
    ) -> str:
        """Store a post-training run with its figures and texts by file name; return the run's id."""
        found = self._client.get_experiment_by_name(MODEL_NAME)
        experiment = found.experiment_id if found else self._client.create_experiment(MODEL_NAME, self._artifacts)
        run = self._client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id
        for key, value in figures.items():
            self._client.log_metric(run, key, value)
        for name_of_file, text in texts.items():
            self._client.log_text(run, text, name_of_file)
        self._client.set_terminated(run)
        return str(run)

    def register(
        self, checkpoint: Checkpoint, run: str | None = None, tags: Mapping[str, str] | None = None
    ) -> ModelVersion:
        """The registered version of a checkpoint, created unless its version is registered from the same folder. `tags`
        replace earlier ones; an earlier verdict stays in its own run.
        """
        source = checkpoint.source
        for known in self.versions():
            # A moved checkpoint is registered anew: a version's source cannot be changed, and nights read it there.
            if (known.tags.get(VERSION_TAG), known.source) == (checkpoint.version, source):
                for key, value in (tags or {}).items():
                    self._client.set_model_version_tag(MODEL_NAME, known.version, key, value)
                return self._client.get_model_version(MODEL_NAME, known.version)
        if registered_model(self._client) is None:
            self._client.create_registered_model(MODEL_NAME)
        return self._client.create_model_version(
            MODEL_NAME,
            source=source,
            run_id=run,
            tags={VERSION_TAG: checkpoint.version, **(tags or {})},
        )

    def promote(self, version: ModelVersion) -> None:
        """Make `version` the champion. Promoting the champion again changes at most its folder."""
        champion = self.aliased(CHAMPION)
        if champion and champion.version == version.version:
            return
        if champion and champion.tags.get(VERSION_TAG) != version.tags.get(VERSION_TAG):
            self._remember([*self._earlier(), str(champion.version)])
        self._client.set_registered_model_alias(MODEL_NAME, CHAMPION, version.version)

    def rollback(self) -> ModelVersion | None:
        """Make the previous champion champion and return it; None if there was none before.

        Raises ContractError without a champion.
        """
        champion = self.aliased(CHAMPION)
        if not champion:
            raise ContractError("there is no champion to roll back from")
        earlier = self._earlier()
        if not earlier:
            self._client.delete_registered_model_alias(MODEL_NAME, CHAMPION)
            return None
        self._client.set_registered_model_alias(MODEL_NAME, CHAMPION, earlier[-1])
        self._remember(earlier[:-1])
        return self.aliased(CHAMPION)

    def versions(self) -> list[ModelVersion]:
        """All versions, oldest first."""
        found = self._client.search_model_versions(f"name='{MODEL_NAME}'") if self._known() else []
        return sorted(found, key=lambda version: int(version.version))

    def aliased(self, alias: str) -> ModelVersion | None:
        number = self._aliases().get(alias)
        return None if number is None else self._client.get_model_version(MODEL_NAME, number)

    def _earlier(self) -> list[str]:
        model = self._client.get_registered_model(MODEL_NAME)
        tag = model.tags.get(EARLIER_TAG, "")
        versions = tag.split(",") if tag else []
        # The champion itself is the last one if a promotion or rollback was killed between its two writes.
        return versions[:-1] if versions[-1:] == [str(model.aliases.get(CHAMPION))] else versions

    def _remember(self, versions: list[str]) -> None:
        self._client.set_registered_model_tag(MODEL_NAME, EARLIER_TAG, ",".join(versions))

    def _aliases(self) -> dict[str, str]:
        known = self._known()
        return dict(known.aliases) if known else {}

    def marks(self) -> dict[str, str]:
        """By version number: `champion`, or `earlier` for a former champion."""
        if not self._known():
            return {}
        marks = dict.fromkeys(self._earlier(), "earlier")
        return marks | {str(number): alias for alias, number in self._aliases().items()}

    def describe(self) -> str:
        """One line per version, for people."""
        versions, marks = self.versions(), self.marks()
        if not versions:
            return "no version is registered"
        return "\n".join(
            f"{each.version:>4}  {each.tags[VERSION_TAG]:<40} {marks.get(str(each.version), ''):<9} {each.source}"
            for each in versions
        )


def _check_can_be_made(file: str) -> None:
    above = next(folder for folder in Path(file).absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ContractError(f"MARQUEE_REGISTRY is in {file}, which this user may not make in {above}")
