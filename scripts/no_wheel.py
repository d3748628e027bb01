"""A hook of the build: no wheel of Marquee is made, because one would install another environment than the pinned one.

uv's overrides, without which pip brings pandas 3 and puts pyspark-client over pyspark, are not part of a wheel.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NoWheel(BuildHookInterface):  # type: ignore[type-arg]
    """Refuses every build but that of an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if version != "editable":
            self.app.abort(
                "marquee: no wheel is built, because the pins that make Marquee work are not part of one; clone the "
                "repository and run scripts/setup.sh (docs/deploying.md)"
            )
