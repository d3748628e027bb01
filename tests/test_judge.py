"""A candidate is promoted or refused by its estimates, and registered either way."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from mlflow import MlflowClient

from inference.champion import MODEL_NAME, VERSION_TAG, champion
from inference.checkpoint import read_checkpoint
from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.tables import POLICY_ESTIMATES
from tests.night_data import small_checkpoint
from training.judge import judge
from training.registry import Registry

DS = date(2026, 1, 14)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = small_checkpoint(tmp_path / "candidate")
    (made / "report.html").write_text("a page")
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        warehouse=str(tmp_path / "w"), registry=f"sqlite:///{tmp_path}/registry.db", gate_margin=0.0, gate_slices=()
    )


def write_estimate(settings: Settings, candidate: str, difference: float) -> None:
    row: dict[str, Any] = dict.fromkeys(POLICY_ESTIMATES.column_names)
    row |= {"ds": DS, "candidate": candidate, "policy": candidate, "slice_by": "all", "slice": "all", "estimator": "dr"}
    row |= {"impressions": 100, "users": 50, "value": 0.5, "difference": difference}
    row |= {"difference_low": difference - 0.01, "difference_high": difference + 0.01}
    table = pa.Table.from_pylist([row], schema=POLICY_ESTIMATES.arrow_schema())
    write_deltalake(f"{settings.warehouse}/{POLICY_ESTIMATES.name}", table, mode="append")


@pytest.mark.parametrize(("difference", "promoted"), [(0.02, True), (0.005, False)])
def test_a_candidate_is_promoted_or_refused_and_kept_with_its_figures_and_page(
    difference: float, promoted: bool, folder: Path, settings: Settings
) -> None:
    version = read_checkpoint(folder).version
    write_estimate(settings, version, difference)
    assert judge(folder, DS, settings).promoted == promoted
    found = champion(str(settings.registry))
    assert (found.tags[VERSION_TAG] if found else None) == (version if promoted else None)
    [registered] = Registry(settings.registry).versions()
    assert registered.tags["verdict"].startswith("promoted" if promoted else "refused")
    client = MlflowClient(tracking_uri=settings.registry, registry_uri=settings.registry)
    run = client.get_run(str(registered.run_id))
    assert run.data.metrics["dr_difference"] == difference
    assert [file.path for file in client.list_artifacts(str(registered.run_id))] == ["report.html"]
    assert client.get_experiment_by_name(MODEL_NAME) is not None


def test_a_candidate_that_was_not_evaluated_is_an_error(folder: Path, settings: Settings) -> None:
    with pytest.raises(ContractError, match="there is no Delta table"):
        judge(folder, DS, settings)
    write_estimate(settings, "another@1", 0.1)
    with pytest.raises(ContractError, match=r"nothing about tests@.* for ds=2026-01-14"):
        judge(folder, DS, settings)
