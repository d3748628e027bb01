"""Why a user sees an artwork (`marquee explain`): the question, the answer, the draw, and what changed the choice."""

from __future__ import annotations

from datetime import date
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from schemas.buckets import bucket_of
from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.store import literal, rows_where
from schemas.tables import (
    ARTWORK_SCORES,
    ARTWORK_SELECTION_LOG,
    NIGHT_MODELS,
    REMOVED,
    TITLE_CHOICES,
    UNDONE,
    USER_CONTEXTS,
    WANTED_PAIRS,
)
from serving.draw import cumulative, epoch, point
from serving.lookup import names_of
from serving.selections import Selections

Explanation = dict[str, Any]


def explanation(settings: Settings, user_id: str, title_id: str, ds: date | None = None) -> Explanation:
    """The choice that stands for a pair, or that stood after the night `ds`, and all that is known of it.

    `question` is null if no model was asked, or if the night that asked is no longer kept. Raises ContractError if
    there is no choice.
    """
    warehouse = settings.warehouse
    selections = Selections.of(warehouse)
    pair = f"user_id = {literal(user_id)} AND title_id = {literal(title_id)}"
    history = rows_where(warehouse, ARTWORK_SELECTION_LOG, f"{pair} ORDER BY ds DESC")
    if ds is None:
        choice = selections.of_pair(user_id, title_id)
    else:
        history = [row for row in history if row["ds"] <= ds]
        latest = _latest(history)
        choice = latest if latest and latest["source"] != REMOVED else None
    if choice is None:
        raise ContractError(_absent(warehouse, selections, user_id, title_id, ds, history))
    names = names_of(warehouse, [title_id])
    scored = _scored(warehouse, choice, bucket_of(user_id, selections.buckets), pair)
    best = choice["ranking"][0]["artwork_id"]
    return {
        "user_id": user_id,
        "title_id": title_id,
        "title": names.titles.get(title_id),
        **{name: choice[name] for name in ("artwork_id", "source", "probability", "propensity", "model_version")},
        "chosen_by_night": choice["ds"],
        "explored": choice["source"] == "uniform" or choice["artwork_id"] != best,
        **scored,
        "options": _options(choice, scored["question"], names.captions),
        "draw": _draw(choice, settings),
        "history": [{name: row[name] for name in ("ds", "artwork_id", "source", "model_version")} for row in history],
    }


def _latest(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The latest row of a pair's log that was not undone."""
    return next((row for row in history if row["source"] != UNDONE), None)


def _absent(
    warehouse: str,
    selections: Selections,
    user_id: str,
    title_id: str,
    ds: date | None,
    history: list[dict[str, Any]],
) -> str:
    who = f"user {user_id} has no choice for title {title_id}" + (f" after the night of {ds}" if ds else "")
    latest = _latest(history)
    if latest and latest["source"] == REMOVED:
        earlier = _latest([row for row in history if row["ds"] < latest["ds"]])
        return f"{who}: the night of {latest['ds']} {_removed(warehouse, latest, earlier)}"
    if ds:
        return who
    default = selections.default(title_id)
    return f"{who}; " + (f"its default is shown: {default}" if default else "it has no default either")


def _removed(warehouse: str, row: dict[str, Any], earlier: dict[str, Any] | None) -> str:
    """That a night removed a choice, and why, by the artworks that were active then and by those it was chosen from."""
    night, title = f"ds = DATE '{row['ds']}'", literal(row["title_id"])
    if earlier is None or not rows_where(warehouse, TITLE_CHOICES, f"{night} LIMIT 1"):
        return "removed it"
    choices = rows_where(warehouse, TITLE_CHOICES, f"{night} AND title_id = {title} AND ordering = 0")
    active = {artwork for each in choices for artwork in each["artwork_ids"]}
    if active.isdisjoint(option["artwork_id"] for option in earlier["ranking"]):
        return "removed it, as no artwork of it was active"
    pair = f"bucket = {row['bucket']} AND user_id = {literal(row['user_id'])}"
    wanted = f"array_has(title_ids, {title}) AND ds <= DATE '{row['ds']}'"
    last = rows_where(warehouse, WANTED_PAIRS, f"{pair} AND {wanted} ORDER BY ds DESC LIMIT 1")
    since = f"after that of {last[0]['ds']}" if last else "that is kept"
    return f"ended it, as no night {since} wanted the pair (MARQUEE_SELECTION_DAYS)"


def _scored(warehouse: str, choice: dict[str, Any], bucket: int, pair: str) -> dict[str, Any]:
    """The night that asked the model, why that model, and the question; nulls for what is unknown."""
    unknown = {"scored_by_night": None, "model_chosen_as": None, "checkpoint": None, "question": None}
    if choice["prompt_hash"] is None:
        return unknown
    condition = f"bucket = {bucket} AND {pair} AND prompt_hash = {choice['prompt_hash']}"
    scores = rows_where(
        warehouse, ARTWORK_SCORES, f"{condition} AND ds <= DATE '{choice['ds']}' ORDER BY ds DESC LIMIT 1"
    )
    if not scores:
        return unknown
    night = scores[0]["ds"]
    models = rows_where(warehouse, NIGHT_MODELS, f"ds = DATE '{night}'")
    model = models[0] if models else {"why": None, "checkpoint": None}
    return {
        "scored_by_night": night,
        "model_chosen_as": model["why"],
        "checkpoint": model["checkpoint"],
        "question": _question(warehouse, choice, night, bucket),
    }


def _question(warehouse: str, choice: dict[str, Any], night: date, bucket: int) -> dict[str, Any] | None:
    """The two parts of the prompt as it was asked, and its artworks in the sequence of the option numbers."""
    user, title = literal(choice["user_id"]), literal(choice["title_id"])
    contexts = rows_where(warehouse, USER_CONTEXTS, f"ds = DATE '{night}' AND bucket = {bucket} AND user_id = {user}")
    asked = [each for row in contexts for each in row["pairs"] if each["title_id"] == choice["title_id"]]
    if not asked or asked[0]["prompt_hash"] != choice["prompt_hash"]:
        return None
    condition = f"ds = DATE '{night}' AND title_id = {title} AND ordering = {asked[0]['ordering']}"
    choices = rows_where(warehouse, TITLE_CHOICES, condition)
    if not choices:
        return None
    return {"context": contexts[0]["context"], **{name: choices[0][name] for name in ("choice", "artwork_ids")}}


def _options(choice: dict[str, Any], question: dict[str, Any] | None, captions: dict[str, str]) -> list[dict[str, Any]]:
    """Every artwork of the pair, the most probable first, with its option number where the question is known."""
    numbers = {artwork: number for number, artwork in enumerate(question["artwork_ids"] if question else [], start=1)}
    return [
        {**option, "number": numbers.get(option["artwork_id"]), "caption": captions.get(option["artwork_id"])}
        for option in choice["ranking"]
    ]


def _draw(choice: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The draw under the present salt and epochs, and whether it gives the artwork that was chosen."""
    user_id, title_id, day = choice["user_id"], choice["title_id"], choice["ds"]
    drawn, ends = point(user_id, title_id, day, settings), cumulative(choice["ranking"])
    possible = [artwork for artwork, _ in ends]
    chosen = next((artwork for artwork, end in ends if end > drawn), possible[-1])
    return {
        "epoch": epoch(user_id, day, settings),
        "point": drawn,
        "cumulative": [{"artwork_id": artwork, "end": end} for artwork, end in ends],
        "reproduced": chosen == choice["artwork_id"],
    }


def explained(found: Explanation, prior: list[float] | None, verdict: str | None) -> RenderableType:
    """An explanation for people. `prior` is the model's preference for each option number, taken off its answer;
    `verdict` is the gate's on the model.
    """
    title, artwork = found["title"] or found["title_id"], found["artwork_id"]
    parts: list[RenderableType] = [
        escape(
            f"User {found['user_id']} sees artwork {artwork} for {title}, chosen by the night of "
            f"{found['chosen_by_night']} ({found['source']})."
        ),
        *map(escape, why(found, verdict)),
        *([f"[italic]{escape(in_words(found['reason']))}[/italic]"] if found.get("reason") else []),
        "",
        _options_table(found, prior),
        "",
        escape(_draw_sentence(found)),
        "",
        _history_table(found["history"]),
    ]
    if found["question"]:
        prompt = found["question"]["context"] + found["question"]["choice"]
        parts += ["", "[bold]The question[/bold]", escape(prompt)]
    return Group(*parts)


def in_words(reason: dict[str, Any]) -> str:
    """A teacher's reason, marked as its own words."""
    return f"In the own words of {reason['by']}, asked afterwards: {reason['text']}"


def why(found: Explanation, verdict: str | None = None) -> list[str]:
    """Why this artwork, in full sentences."""
    if found["source"] == "only_choice":
        return ["It is the only artwork: no model was asked."]
    if found["source"] == "uniform":
        return ["The user is in the exploring slice: every artwork is equally probable, and no model was asked."]
    sentences = [f"Scored by {found['model_version']}"]
    if found["scored_by_night"]:
        sentences[0] += f" in the night of {found['scored_by_night']}: {found['model_chosen_as']}"
    sentences[0] += "."
    if verdict:
        sentences.append(f"The gate on that model: {verdict}")
    if found["question"] is None:
        sentences.append("The night that asked is no longer kept; its question is unknown.")
    sentences.append(
        "The draw explored: the model preferred another artwork."
        if found["explored"]
        else "The artwork is the model's first choice."
    )
    return sentences


def _options_table(found: Explanation, prior: list[float] | None) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("option", justify="right")
    table.add_column("artwork")
    table.add_column("caption")
    for heading in ("probability", *(["prior taken off"] if prior else []), "propensity"):
        table.add_column(heading, justify="right")
    for option in found["options"]:
        number = option["number"]
        table.add_row(
            str(number or ""),
            escape(option["artwork_id"]) + (" ←" if option["artwork_id"] == found["artwork_id"] else ""),
            escape(option["caption"] or ""),
            f"{option['probability']:.3f}",
            *([f"{prior[number - 1]:+.3f}" if number else ""] if prior else []),
            f"{option['propensity']:.3f}",
        )
    return table


def _draw_sentence(found: Explanation) -> str:
    draw = found["draw"]
    ends = ", ".join(f"{each['artwork_id']} to {each['end']:.3f}" for each in draw["cumulative"])
    sentence = f"The draw of epoch {draw['epoch']} fell at {draw['point']:.3f}; by id: {ends}."
    if not draw["reproduced"]:
        sentence += " That is another artwork: the salt or the length of epochs was another one that night."
    return sentence


def _history_table(history: list[dict[str, Any]]) -> Table:
    table = Table(title="What nights changed", title_justify="left", header_style="bold", box=None, pad_edge=False)
    for heading in ("night", "artwork", "source", "model"):
        table.add_column(heading)
    for row in history:
        table.add_row(
            str(row["ds"]), escape(row["artwork_id"] or ""), row["source"], escape(row["model_version"] or "")
        )
    return table
