"""The content of a candidate's page, and its HTML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.estimators import CLIP, ESTIMATORS, PROMISED
from evaluation.gate import ALL, Verdict, rule, verdict
from evaluation.plots import Span, curves, spans
from evaluation.policies import BASELINES, LOGGING
from inference.rotations import in_words
from schemas.contract import ContractError
from schemas.settings import Settings
from schemas.tables import POLICY_ESTIMATES

TRUTH = "truth"

Row = dict[str, Any]
"""A row of `policy_estimates`."""
Points = dict[str, tuple[list[float], list[float]]]
"""Lines of a plot: x and y by name."""


@dataclass(frozen=True)
class Page:
    """All that the page shows. `reference`: the champion, or what stands in for it; `settings`: those of the gate;
    `rows`: the candidate's rows of `policy_estimates`; `losses`: by training stage.
    """

    ds: date
    candidate: str
    reference: str
    settings: Settings
    rows: list[Row]
    positions: Points
    play_rates: Points
    losses: dict[str, list[dict[str, float]]]

    @property
    def estimator(self) -> str:
        """The estimator of the verdict, the plots and the slices."""
        return self.settings.gate_estimator

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict."""
        return verdict(self.rows, self.candidate, self.settings)

    def overall(self, policy: str) -> Row:
        """A policy's row over the whole log. Raises ContractError if the run did not estimate it."""
        row = self.find(policy, self.estimator)
        if row is None:
            raise ContractError(
                f"{POLICY_ESTIMATES.name}: {self.ds} has no {self.estimator} of {policy} in the run of "
                f"{self.candidate}; run `marquee evaluate` with the same --candidate and --champion"
            )
        return row

    def find(self, policy: str, estimator: str, slice_by: str = ALL, slice_: str = ALL) -> Row | None:
        wanted = (policy, estimator, slice_by, slice_)
        keys = ("policy", "estimator", "slice_by", "slice")
        return next((row for row in self.rows if tuple(row[key] for key in keys) == wanted), None)

    def policies(self) -> list[str]:
        """The candidate first, then models, then baselines."""
        names = {row["policy"] for row in self.rows}
        baselines = [name for name in (*reversed(BASELINES), LOGGING) if name in names]
        return [self.candidate, *sorted(names - {self.candidate, *baselines}), *baselines]

    def has_truth(self) -> bool:
        return any(row["estimator"] == TRUTH for row in self.rows)


@dataclass(frozen=True)
class Refusal:
    """Why the log supports no estimate, and of which policies; `slice` is empty if that holds for the whole log."""

    slice: str
    policies: str
    sentence: str


def refusals(page: Page) -> list[Refusal]:
    """Each sentence once, whatever the estimator; those of the whole log come first."""
    said: dict[tuple[str, str], list[str]] = {}
    for row in sorted(page.rows, key=lambda row: (row["slice_by"], _number(row["slice"]), row["slice"])):
        if row["refused"]:
            of = "" if row["slice_by"] == ALL else f"{row['slice_by']}: {row['slice']}"
            said.setdefault((of, row["refused"]), []).append(row["policy"])
    everyone = page.policies()
    return [
        Refusal(of, "every policy" if set(names) == set(everyone) else _listed(names, everyone), sentence)
        for (of, sentence), names in sorted(said.items(), key=lambda item: item[0][0] != "")
    ]


def _listed(names: list[str], order: list[str]) -> str:
    return ", ".join(name for name in order if name in names)


def render(page: Page) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    promised = [*PROMISED, *([TRUTH] if page.has_truth() else [])]
    others = [name for name in ESTIMATORS if name not in PROMISED]
    overall, against = page.overall(page.candidate), page.overall(page.reference)
    return environment.get_template("report.html.j2").render(
        ds=page.ds,
        candidate=page.candidate,
        reference=page.reference,
        impressions=overall["impressions"],
        users=overall["users"],
        estimator=page.estimator,
        verdict=page.verdict,
        rule=rule(page.settings),
        difference=overall,
        share=_share(overall["difference"], against["value"]),
        refusals=refusals(page),
        has_truth=page.has_truth(),
        promised=promised,
        others=others,
        differences=_table(page, promised, [name for name in page.policies() if name != page.reference]),
        values=_table(page, promised, page.policies()),
        other_values=_table(page, others, page.policies()),
        slices=_slices(page),
        clip=f"{CLIP:.0f}",
        **_plots(page),
    )


def _share(difference: float | None, value: float | None) -> float | None:
    """The difference over the reference's value; None if either is unknown, or the value is 0."""
    return difference / value if difference is not None and value else None


def _table(page: Page, estimators: list[str], policies: list[str]) -> list[tuple[str, list[Row | None]]]:
    return [(policy, [page.find(policy, estimator) for estimator in estimators]) for policy in policies]


def _slices(page: Page) -> list[tuple[str, Row, Row | None]]:
    ours = [row for row in page.rows if (row["policy"], row["estimator"]) == (page.candidate, page.estimator)]
    return [
        (f"{row['slice_by']}: {row['slice']}", row, page.find(page.candidate, TRUTH, row["slice_by"], row["slice"]))
        for row in sorted(ours, key=lambda row: (row["slice_by"], _number(row["slice"]), row["slice"]))
        if row["slice_by"] != ALL
    ]


def _number(slice_: str) -> int:
    """The first number of a band such as 13-40, so that 4 comes before 13; 0 if it has none."""
    digits = slice_.partition("-")[0].split()[0]
    return int(digits) if digits.isdigit() else 0


def _plots(page: Page) -> dict[str, Any]:
    """The plots, as SVG for the page; an empty string if there is nothing to draw."""
    unit = f"plays per impression more than {page.reference}"
    policies = [(name, page.find(name, page.estimator), page.find(name, TRUTH)) for name in page.policies()]
    overall = [_span(name, row, known) for name, row, known in policies if name != page.reference]
    sliced = [_span(name, row, known) for name, row, known in _slices(page)]
    drawn = {
        "difference_plot": spans("Difference by policy", [span for span in overall if span], unit),
        "slice_plot": spans("Difference by slice", [span for span in sliced if span], unit),
        "positions_plot": curves(
            "Probability by option number",
            _lines(page, page.positions),
            "option number",
            "probability ÷ (1/K)",
            1.0,
        ),
        "calibration_plot": curves(
            "Play rate by probability", _lines(page, page.play_rates), "K × probability", "play rate"
        ),
    }
    losses = [
        (stage, Markup(curves(f"Loss of {stage}", _line(at), "step", "loss"))) for stage, at in page.losses.items()
    ]
    return {**{name: Markup(svg) for name, svg in drawn.items()}, "losses": losses}


def _lines(page: Page, by_model: Points) -> Points:
    """The candidate first, then the mean over its rotations, then the other models."""
    models = sorted(by_model, key=lambda model: (not model.startswith(page.candidate), model))
    return {in_words(model): by_model[model] for model in models}


def _line(losses: list[dict[str, float]]) -> Points:
    return {"loss": ([each["step"] for each in losses], [each["loss"] for each in losses])}


def _span(name: str, row: Row | None, known: Row | None) -> Span | None:
    if row is None or row["difference"] is None:
        return None
    true = known["difference"] if known else None
    return Span(name, row["difference"], row["difference_low"], row["difference_high"], true)
