"""A warehouse to look at, written without a night: two titles, artworks with images of every kind, and hostile ids."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from schemas.prompt import Choice, Context, Option, Viewing
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    ARTWORK_SELECTIONS,
    ARTWORKS,
    AUDIT_RESULTS,
    BUCKETS_PROPERTY,
    CATALOGUE_NAMES,
    IMAGES,
    IMPRESSIONS,
    NIGHT_CHANGES,
    NIGHT_MODELS,
    NIGHT_STEPS,
    REJECTED_ROWS,
    SCORING_RUNS,
    TITLE_CHOICES,
    TITLE_DEFAULTS,
    TITLES,
    USER_CONTEXTS,
    VIEWING_HISTORY,
    WANTED_PAIRS,
)
from tests.test_serving import BUCKETS, DS, scored, selection, step, write

HOSTILE = "<script>alert('x')</script>\"&/../%2e%2e%2f?a=b#c é🐕\u202e"
"""An id of a user, a title and an artwork."""
DEAD = "http://127.0.0.1:9/gone.png"
"""An address at which nothing listens."""
CAPTION = "A warm close-up of <b>nobody</b> & co"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 3"><rect width="2" height="3" fill="#c2541b"/></svg>'
BEFORE = DS - timedelta(days=1)
PROMPT_HASH = 1

# Artworks of title 7, with where their images are.
URIS = {
    "a1": f"{IMAGES}/a1.svg",
    "a2": DEAD,
    "missing": f"{IMAGES}/missing.svg",
    "none": None,
    "up": f"{IMAGES}/../secret.svg",
    "deep": f"{IMAGES}/deeper/secret.svg",
    "dot": f"{IMAGES}/..",
    "linked": f"{IMAGES}/linked.svg",
    "absolute": "",
    "file": "file:///etc/passwd",
    "script": "javascript:alert(1)",
    "text": f"{IMAGES}/secret.txt",
}


def ranking(**probabilities: float) -> list[dict[str, Any]]:
    return [{"artwork_id": each, "probability": p, "propensity": p} for each, p in probabilities.items()]


def chosen(user_id: str, title_id: str, artwork_id: str, **more: Any) -> dict[str, Any]:
    return selection(user_id, title_id, artwork_id) | {"ranking": ranking(a1=0.75, a2=0.25)} | more


def impression(user_id: str, artwork_id: str, played: bool, second: int = 0) -> dict[str, Any]:
    return {
        "ds": DS,
        "user_id": user_id,
        "title_id": "7",
        "artwork_id": artwork_id,
        "eligible_artwork_ids": ["a1", "a2"],
        "propensity": 0.5,
        "shown_at": datetime(DS.year, DS.month, DS.day, 12, 0, second, tzinfo=UTC),
        "played": played,
        "play_seconds": 0.0,
    }


def make_warehouse(folder: Path) -> Path:
    made = folder / "warehouse"
    _write_choices(made)
    _write_night(made)
    _write_catalogue(made)
    _write_images(made)
    return made


def _write_choices(made: Path) -> None:
    """User 42 sees the model's second choice for title 7, most others the first; no model was asked about one."""
    unscored = {"source": "uniform", "model_version": None, "prompt_hash": None}
    one = {"source": "only_choice", "ranking": ranking(**{HOSTILE: 1.0}), "probability": 1.0, "propensity": 1.0}
    now = [
        chosen("42", "7", "a2", probability=0.25, propensity=0.25),
        chosen("42", HOSTILE, HOSTILE, **one),
        chosen("1", "7", "a1"),
        chosen("2", "7", "a1"),
        chosen(HOSTILE, "7", "a1"),
        chosen("explorer", "7", "a2", **unscored),
    ]
    earlier = chosen("42", "7", "a1", ds=BEFORE)
    removed = chosen("1", "9", "a9") | {"artwork_id": None, "source": "removed"}
    write(made, ARTWORK_SELECTIONS, now, **{BUCKETS_PROPERTY: str(BUCKETS)})
    write(made, ARTWORK_SELECTION_LOG, [*now, earlier, removed])
    write(made, TITLE_DEFAULTS, [{"title_id": "7", "artwork_id": "a1"}])
    wanted = {"ds": DS, "bucket": now[0]["bucket"], "user_id": "42", "title_ids": [HOSTILE, "7"]}
    write(made, WANTED_PAIRS, [wanted])
    context = Context(("crime", "drama"), (Viewing("Big (1988): comedy"), Viewing("Ran (1985): war", True)))
    asked = [
        {
            "ds": DS,
            "bucket": each["bucket"],
            "user_id": each["user_id"],
            "context": Context(("comedy",)).text if each["user_id"] == "1" else context.text,
            "pairs": [{"title_id": "7", "ordering": 0, "prompt_hash": PROMPT_HASH}],
        }
        for each in now
        if each["title_id"] == "7" and each["source"] == "model"
    ]
    write(made, USER_CONTEXTS, asked)
    choice = Choice("Heat (1995): crime", (Option("One"), Option("Two"))).text
    about = {"ordering": 0, "artwork_ids": ["a1", "a2"], "choice": choice, "choice_hash": 1}
    write(made, TITLE_CHOICES, [{"ds": DS, "title_id": "7", **about}])
    scores = {"title_id": "7", "artwork_ids": ["a1", "a2"], "probabilities": [0.75, 0.25]}
    row = {name: asked[0][name] for name in ("ds", "bucket", "user_id")}
    write(made, ARTWORK_SCORES, [{**row, **scores, "model_version": "tiny-1", "prompt_hash": PROMPT_HASH}])


def _write_night(made: Path) -> None:
    steps = [
        step("validate", 4, rows_titles=200, rejected_titles=2),
        step("contexts", 3, pairs_wanted=6),
        step("score_0", 5, pairs=5),
        step("publish", 2, inserted=5, updated=1, deleted=1, unchanged=0),
    ]
    write(made, NIGHT_STEPS, [*steps, step("maintain failed", 1) | {"failed": "<b>it</b> broke"}])
    write(made, SCORING_RUNS, [scored(0)])
    write(made, AUDIT_RESULTS, [{"ds": DS, "check": "coverage", "value": 0.0, "limit": 0.1, "passed": True}])
    reject = {"ds": DS, "step": "validate", "bucket": -1, "source_table": "titles", "row": "{}", "rule": "name_blank"}
    write(made, REJECTED_ROWS, [reject, reject])
    counts = {"added": 3, "changed": 1, "removed": 0, "unchanged": 2, "entropy": 0.5}
    changes = [("7", "model"), (HOSTILE, "only_choice")]
    write(made, NIGHT_CHANGES, [{"ds": DS, "title_id": each, "source": kind, **counts} for each, kind in changes])
    write(made, NIGHT_MODELS, [{"ds": DS, "model_version": "tiny-1", "checkpoint": "/nowhere", "why": "the champion"}])


def _write_catalogue(made: Path) -> None:
    uris = URIS | {"absolute": str(made / "secret.svg")}
    captions = {"a1": "A warm close-up", "a2": "A dark wide shot", "missing": CAPTION}
    artworks = [
        {
            "artwork_id": each,
            "title_id": "7",
            "caption": captions.get(each, f"caption of {each}"),
            "themes": ["crime"],
            "image_uri": uri,
            "is_default": each == "a1",
            "active_from": date(2026, 1, 1),
            "active_to": None,
        }
        for each, uri in uris.items()
    ]
    write(made, ARTWORKS, [*artworks, artworks[0] | {"artwork_id": HOSTILE, "title_id": HOSTILE, "image_uri": None}])
    titles = [("7", "Heat"), (HOSTILE, "<i>Odd</i>")]
    about = {"release_year": 1995, "genres": ["crime"], "synopsis": "Two men."}
    write(made, TITLES, [{"title_id": each, "name": name, **about} for each, name in titles])
    write(
        made,
        CATALOGUE_NAMES,
        [{"title_id": each, "name": name, "release_year": 1995, "captions": []} for each, name in titles],
    )
    watched = datetime(DS.year, DS.month, DS.day, 9, tzinfo=UTC)
    viewing = {"user_id": "explorer", "title_id": "7", "watched_at": watched, "completion": 0.9, "watch_date": DS}
    write(made, VIEWING_HISTORY, [viewing])
    # User 1's second impression of the same draw does not count.
    shown = [impression("1", "a1", True), impression("1", "a1", False, 9), impression("2", "a1", False)]
    write(made, IMPRESSIONS, shown)


def _write_images(made: Path) -> None:
    (made / IMAGES / "deeper").mkdir(parents=True)
    (made / IMAGES / "a1.svg").write_bytes(SVG)
    for secret in (made / "secret.svg", made / IMAGES / "deeper" / "secret.svg", made / IMAGES / "secret.txt"):
        secret.write_text("secret")
    (made / IMAGES / "linked.svg").symlink_to(made / "secret.svg")
