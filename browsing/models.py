"""The versions of the model: which is champion, the gate's verdicts, and the pages of the evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from inference.champion import VERSION_TAG
from schemas.files import has_file, read_file
from schemas.paths import without_password
from schemas.settings import Settings
from schemas.store import rows_where
from schemas.tables import NIGHT_MODELS

REPORT = "report.html"
"""The evaluation's page in a checkpoint's folder."""
_VERSIONS, _NIGHTS = 50, 14


@dataclass(frozen=True)
class Version:
    """One registered version. `mark`: champion, earlier (a former champion), or empty."""

    number: str
    model: str
    mark: str
    verdict: str | None
    source: str
    has_report: bool


@dataclass(frozen=True)
class ModelsPage:
    """`place` is the registry's address without its password; None if there is no registry."""

    place: str | None
    versions: list[Version]
    scored: list[tuple[date, str, str]]


def models_page(config: Settings) -> ModelsPage:
    nights = rows_where(config.warehouse, NIGHT_MODELS, f"true ORDER BY ds DESC LIMIT {_NIGHTS}")
    return ModelsPage(
        place=without_password(config.registry) if config.registry else None,
        versions=_versions(config.registry) if config.registry else [],
        scored=[(row["ds"], row["model_version"], row.get("why") or "") for row in nights],
    )


def _versions(address: str) -> list[Version]:
    """The newest versions, the newest first."""
    from training.registry import Registry

    registry = Registry(address)
    marks = registry.marks()
    return [
        Version(
            number=str(each.version),
            model=each.tags.get(VERSION_TAG, "unknown"),
            mark=marks.get(str(each.version), ""),
            verdict=each.tags.get("verdict"),
            source=without_password(str(each.source)),
            has_report=has_file(str(each.source), REPORT),
        )
        for each in registry.versions()[: -_VERSIONS - 1 : -1]
    ]


def report_of(config: Settings, number: str) -> str | None:
    """The page of a registered version's evaluation; None if there is no such version or page."""
    from training.registry import Registry

    known = Registry(config.registry).versions() if config.registry else []
    source = next((str(each.source) for each in known if str(each.version) == number), None)
    page = read_file(source, REPORT) if source else None
    return None if page is None else page.decode()
