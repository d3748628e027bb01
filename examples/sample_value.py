"""Compares a night's choices on a sample service with its truth: the mean true probability of a play over the pairs
scored for ds, under five policies. Only evaluations may read the truth.

    random        any of the pair's artworks
    most_popular  the title's artwork in `title_defaults`, as the latest night published it
    rule          counts the themes in the history that the prompt shows, weighted by completion, and takes the artwork
                  whose themes have the largest mean count; equal artworks share the choice
    model         the artwork with the largest probability
    oracle        the artwork with the largest true probability
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from examples.truth import Truth, read_truth
from schemas.contract import ContractError, Table
from schemas.settings import Settings
from schemas.store import batches, open_table
from schemas.tables import ARTWORK_SCORES, ARTWORKS, MAX_ARTWORKS, TITLE_DEFAULTS, TITLES, VIEWING_HISTORY

POLICIES = ("random", "most_popular", "rule", "model", "oracle")
SIZES = ((2, 3), (4, 6), (7, 9), (10, 12), (13, 24), (25, MAX_ARTWORKS))
"""Ranges of the number of artworks, reported separately: a choice among many is harder."""


@dataclass(frozen=True)
class Pair:
    """One scored pair."""

    user_id: str
    title_id: str
    artwork_ids: list[str]
    probabilities: np.ndarray


@dataclass(frozen=True)
class Knowledge:
    """The data of most_popular and rule: titles' defaults, artworks' themes, and users' counts of themes."""

    defaults: dict[str, str]
    themes: dict[str, list[str]]
    counts: dict[str, dict[str, float]]


@dataclass
class Values:
    """Sums of true play probabilities by user, for means and their standard errors."""

    pairs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sums: dict[str, np.ndarray] = field(default_factory=lambda: defaultdict(lambda: np.zeros(len(POLICIES))))

    def add(self, user_id: str, values: np.ndarray, pairs: int = 1) -> None:
        self.pairs[user_id] += pairs
        self.sums[user_id] += values

    def means(self) -> np.ndarray:
        total: np.ndarray = np.sum(list(self.sums.values()), axis=0) / sum(self.pairs.values())
        return total

    def standard_errors(self) -> np.ndarray:
        """Standard errors of the means, clustered by user: sqrt(Σ over users of (the user's deviations)²) / pairs."""
        counts = np.array(list(self.pairs.values()))[:, None]
        deviations = np.array([self.sums[user_id] for user_id in self.pairs]) - counts * self.means()
        errors: np.ndarray = np.sqrt((deviations**2).sum(axis=0)) / counts.sum()
        return errors


def sample_values(warehouse: str | Path, ds: date, configured: Settings) -> dict[tuple[int, int], Values]:
    """The five policies' values over the pairs scored for `ds`, by those of SIZES that have pairs.

    Raises ContractError if there are no pairs.
    """
    truth = read_truth(warehouse)
    known = knowledge(warehouse, ds, configured)
    found: dict[tuple[int, int], Values] = defaultdict(Values)
    for pair in scored_pairs(warehouse, ds):
        size = next(size for size in SIZES if len(pair.artwork_ids) <= size[1])
        found[size].add(pair.user_id, pair_values(pair, truth, known))
    if not found:
        raise ContractError(f"{ARTWORK_SCORES.name} has no rows for {ds}: run that night first, or give another --ds")
    return dict(sorted(found.items()))


def together(parts: Iterable[Values]) -> Values:
    """The values over the pairs of all parts."""
    whole = Values()
    for part in parts:
        for user_id, pairs in part.pairs.items():
            whole.add(user_id, part.sums[user_id], pairs)
    return whole


def pair_values(pair: Pair, truth: Truth, known: Knowledge) -> np.ndarray:
    """The true play probability of each of POLICIES."""
    plays = truth.play_probabilities(pair.user_id, pair.artwork_ids)
    default = np.array([float(each == known.defaults.get(pair.title_id)) for each in pair.artwork_ids])
    rule = rule_scores(known.counts.get(pair.user_id, {}), [known.themes[each] for each in pair.artwork_ids])
    return np.array(
        [plays.mean(), _best(plays, default), _best(plays, rule), _best(plays, pair.probabilities), plays.max()]
    )


def rule_scores(counts: dict[str, float], themes: Iterable[list[str]]) -> np.ndarray:
    """The mean count of each artwork's themes."""
    return np.array([np.mean([counts.get(theme, 0.0) for theme in each]) if each else 0.0 for each in themes])


def _best(plays: np.ndarray, scores: np.ndarray) -> float:
    return float(plays[np.isclose(scores, scores.max())].mean())


def scored_pairs(warehouse: str | Path, ds: date) -> Iterator[Pair]:
    columns = ["user_id", "title_id", "artwork_ids", "probabilities"]
    for row in _rows(warehouse, ARTWORK_SCORES, columns, f"ds = DATE '{ds}'"):
        yield Pair(row["user_id"], row["title_id"], row["artwork_ids"], np.array(row["probabilities"]))


def knowledge(warehouse: str | Path, ds: date, configured: Settings) -> Knowledge:
    defaults = {
        row["title_id"]: row["artwork_id"] for row in _rows(warehouse, TITLE_DEFAULTS, ["title_id", "artwork_id"])
    }
    themes = {row["artwork_id"]: row["themes"] or [] for row in _rows(warehouse, ARTWORKS, ["artwork_id", "themes"])}
    return Knowledge(defaults, themes, shown_theme_counts(warehouse, ds, configured))


def shown_theme_counts(warehouse: str | Path, ds: date, configured: Settings) -> dict[str, dict[str, float]]:
    """For each user, completion summed by genre over the latest `history_titles` titles, selected as by
    spark_jobs/prompts.py: titles of the catalogue, each by its latest viewing, latest first.
    """
    genres = {row["title_id"]: row["genres"] or [] for row in _rows(warehouse, TITLES, ["title_id", "genres"])}
    latest: dict[str, dict[str, tuple[datetime, float]]] = defaultdict(dict)
    for row in _history(warehouse, ds, configured.history_days):
        if row["title_id"] in genres:
            viewing = (row["watched_at"], row["completion"])
            known = latest[row["user_id"]].get(row["title_id"], viewing)
            latest[row["user_id"]][row["title_id"]] = max(known, viewing)
    return {user_id: _counts(titles, genres, configured.history_titles) for user_id, titles in latest.items()}


def _counts(viewings: dict[str, tuple[datetime, float]], genres: dict[str, list[str]], most: int) -> dict[str, float]:
    newest_first = sorted(viewings.items(), key=lambda item: (-item[1][0].timestamp(), item[0]))
    counts: dict[str, float] = defaultdict(float)
    for title_id, (_, completion) in newest_first[:most]:
        for genre in genres[title_id]:
            counts[genre.lower()] += completion
    return counts


def _history(warehouse: str | Path, ds: date, days: int) -> Iterator[dict[str, Any]]:
    """The viewings that a night reads: of ds and the `days` before it (spark_jobs/inputs.py)."""
    columns = ["user_id", "title_id", "watched_at", "completion"]
    wanted = f"watch_date BETWEEN DATE '{ds - timedelta(days=days)}' AND DATE '{ds}'"
    return _rows(warehouse, VIEWING_HISTORY, columns, wanted)


def _rows(warehouse: str | Path, table: Table, columns: list[str], wanted: str = "true") -> Iterator[dict[str, Any]]:
    opened = open_table(str(warehouse), table, remedy="fill the warehouse and run a night first")
    for batch in batches(f"SELECT {', '.join(columns)} FROM {table.name} WHERE {wanted}", **{table.name: opened}):
        yield from batch.to_pylist()


def report(config: Settings, ds: date) -> str:
    """`table` of a sample's night."""
    return table(sample_values(config.warehouse, ds, config))


def table(found: dict[tuple[int, int], Values]) -> str:
    """The policies over all pairs, each on the scales from random to rule and from random to oracle, then by size."""
    values = together(found.values())
    means, errors = values.means(), values.standard_errors()
    lines = [f"{'policy':<12} {'value':>7} {'s.e.':>7} {'to rule':>8} {'to oracle':>10}"]
    for name, mean, error in zip(POLICIES, means, errors, strict=True):
        to_rule, to_oracle = _way(means, mean, "rule"), _way(means, mean, "oracle")
        lines.append(f"{name:<12} {mean:>7.4f} {error:>7.4f} {to_rule:>8.1%} {to_oracle:>10.1%}")
    pairs = sum(values.pairs.values())
    lines.append(f"{pairs:,} pairs of {len(values.pairs):,} users; value: mean true probability of a play")
    lines += ["", f"{'artworks':<8} {'pairs':>7} " + " ".join(f"{name:>12}" for name in POLICIES) + "  model to rule"]
    for (least, most), part in found.items():
        of_size = part.means()
        lines.append(
            f"{f'{least}-{most}':<8} {sum(part.pairs.values()):>7,} "
            + " ".join(f"{mean:>12.4f}" for mean in of_size)
            + f" {_way(of_size, of_size[POLICIES.index('model')], 'rule'):>14.1%}"
        )
    return "\n".join(lines)


def _way(means: np.ndarray, mean: float, goal: str) -> float:
    """`mean` on a scale from the random policy (0) to `goal` (1)."""
    random, best = means[POLICIES.index("random")], means[POLICIES.index(goal)]
    return float((mean - random) / (best - random))
