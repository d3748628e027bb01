"""Which checkpoints were trained on the examples of some days (`marquee erase`), by the records of their runs."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from inference.checkpoint import MANIFEST
from schemas.files import files_below, read_file
from schemas.settings import Settings
from schemas.store import open_table
from schemas.tables import POST_TRAINING_EXAMPLES
from training.stage import RECORD, WORK


def trained_on(config: Settings, days: Collection[str]) -> list[str]:
    """The places below the setting `checkpoints` of those that were trained on the examples of one of `days`, and of
    those that were trained from them.
    """
    if not days:
        return []
    runs = _runs(config.checkpoints)
    # Other warehouses may keep their checkpoints in the same place. A run that began before ids were noted has none.
    own = {None, str(open_table(config.warehouse, POST_TRAINING_EXAMPLES).metadata().id)}
    more = {
        place
        for place, run in runs.items()
        if run["ds"] in days and run.get("table_ids", {}).get(POST_TRAINING_EXAMPLES.name) in own
    }
    found: set[str] = set()
    while more:
        found |= more
        versions = {runs[place]["version"] for place in more}
        more = {place for place, run in runs.items() if run["base"] in versions} - found
    return sorted(found)


def _runs(checkpoints: str) -> dict[str, dict[str, Any]]:
    """The records of all runs below a place, with `version`: the checkpoint's, None before it is done."""
    runs = {}
    for name, _ in files_below(checkpoints):
        if name.endswith(f"{WORK}/{RECORD}"):
            place = f"{checkpoints}/{name.removesuffix(f'/{WORK}/{RECORD}')}"
            record, manifest = read_file(checkpoints, name), read_file(place, MANIFEST)
            if record is not None:
                runs[place] = {**json.loads(record), "version": json.loads(manifest)["version"] if manifest else None}
    return runs
