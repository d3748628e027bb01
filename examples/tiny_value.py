"""What the tiny Llama knows, on services that it never saw (`marquee sample tiny-llama-value`): how much of a play's
probability its choices get by taste alone, and whether it prefers styles or play-rate bands.

    random   any option
    reader   the option with the largest taste for its themes, as a linear regression reads the taste from the context
    model    the option with the largest probability
    taste    the same as reader with the true taste, which no context tells in full

A value is the mean probability of a play by taste alone; those of a service's styles, appeal and bands have mean 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np

from examples.tiny_texts import Choice, Texts, expected_liking, training_texts
from examples.truth import BASE, STYLE_EFFECT
from examples.vocabulary import STYLE_NAMES, THEME_INDEX, THEME_NAMES
from inference.checkpoint import read_checkpoint
from inference.tokens import Tokens
from schemas.prompt import Context
from spark_jobs.session import spark_session
from spark_jobs.signals import BANDS
from training.data import prompt_ids
from training.prior import Logprobs, label_logprobs

POLICIES = ("random", "reader", "model", "taste")
SIZES = ((2, 3), (4, 6), (7, 12), (13, 40))
_THEMES = len(THEME_NAMES)
_STYLES = slice(_THEMES, _THEMES + len(STYLE_NAMES))
_BANDS = slice(_STYLES.stop, _STYLES.stop + len(BANDS))
_PENALTY = 5.0  # L2, of the regression that reads tastes


@dataclass(frozen=True)
class Answer:
    """A model's answer to one context and choice: log-probabilities of the options, and what is known of the pair."""

    logprobs: np.ndarray
    captioned: np.ndarray
    taste: np.ndarray
    read: np.ndarray
    """The taste as the regression reads it."""

    def values(self) -> np.ndarray:
        """The probability of a play by taste alone, of what each of POLICIES shows."""
        liking = expected_liking(self.taste, self.captioned)
        plays = 1 / (1 + np.exp(-BASE - liking))
        reader = int(expected_liking(self.read, self.captioned).argmax())
        return np.array([plays.mean(), plays[reader], plays[int(self.logprobs.argmax())], plays[int(liking.argmax())]])


def answers(texts: Texts, checkpoint: Path, questions: int, seed: int) -> list[Answer]:
    """The checkpoint's answers to `questions` random pairs of context and choice for each of SIZES."""
    import torch
    from transformers import AutoModelForCausalLM

    tokens = Tokens(read_checkpoint(checkpoint))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    found = []
    read = read_tastes(texts)
    for size in SIZES:
        pairs = random_pairs(texts, size, questions, np.random.default_rng(seed))
        found += _answered(texts, read, pairs, tokens, partial(label_logprobs, model))
    return found


def random_pairs(texts: Texts, size: tuple[int, int], count: int, rng: np.random.Generator) -> list[tuple[int, Choice]]:
    """(user, choice) with `size` options, by the length of the prompt. Users are of the second half: the regression
    learned from the first.
    """
    choices = [choice for choice in texts.choices if size[0] <= len(choice.captioned) <= size[1]]
    users = rng.integers(len(texts.contexts) // 2, len(texts.contexts), count)
    drawn = [
        (int(user), choices[place]) for user, place in zip(users, rng.integers(len(choices), size=count), strict=True)
    ]
    return sorted(drawn, key=lambda pair: len(texts.contexts[pair[0]]) + len(pair[1].text))


def _answered(
    texts: Texts, read: np.ndarray, pairs: list[tuple[int, Choice]], tokens: Tokens, logprobs: Logprobs
) -> list[Answer]:
    prompts = [prompt_ids(tokens, texts.contexts[user], choice.text, 4095) for user, choice in pairs]
    found = logprobs([prompt for prompt in prompts if prompt is not None], tokens.labels)
    return [
        Answer(row[: len(choice.captioned)], choice.captioned, texts.tastes[user], read[user])
        for row, (user, choice) in zip(found, pairs, strict=True)
    ]


def read_tastes(texts: Texts) -> np.ndarray:
    """Every user's taste as a ridge regression on the first half of the users reads it from contexts, (users, 18)."""
    features = np.stack([_features(Context.parse(text)) for text in texts.contexts])
    half = len(features) // 2
    past = features[:half]
    weights = np.linalg.solve(past.T @ past + _PENALTY * np.eye(past.shape[1]), past.T @ texts.tastes[:half])
    read: np.ndarray = features @ weights
    return read


def _features(context: Context) -> np.ndarray:
    """Per theme: place among the leading ones, and counts and shares of the titles watched and of those left early."""
    leading, watched, early = np.zeros((3, _THEMES))
    for place, theme in enumerate(context.themes):
        leading[THEME_INDEX[theme]] = 1 / (1 + place)
    for viewing in context.viewings:
        listed = re.sub(r".*\): ", "", viewing.title).split(", ")
        themes = [THEME_INDEX[theme] for theme in listed if theme in THEME_INDEX]
        (early if viewing.left_early else watched)[themes] += 1 / max(1, len(themes))
    seen = max(1, len(context.viewings))
    counts = np.stack([leading, np.sign(leading), watched, early, watched / seen, early / seen])
    return np.concatenate([counts.ravel(), np.sqrt(counts[2:4]).ravel(), np.ones(1)])


def preferences(found: Sequence[Answer], columns: slice) -> np.ndarray:
    """The model's mean log-probability for options with each of `columns`, over the mean of their choice's options."""
    centred = np.concatenate([each.logprobs - each.logprobs.mean() for each in found])
    flags = np.concatenate([each.captioned[:, columns] for each in found])
    means: np.ndarray = flags.T @ centred / flags.sum(axis=0)
    return means


def style_preferences(found: Sequence[Answer]) -> np.ndarray:
    """`preferences` for STYLE_NAMES."""
    return preferences(found, _STYLES)


def band_preferences(found: Sequence[Answer]) -> np.ndarray:
    """`preferences` for BANDS, from the seldom to the often played."""
    return preferences(found, _BANDS)


def chance(preferred: np.ndarray, effects: np.ndarray) -> float:
    """The share of all permutations of `preferred` whose correlation with `effects` is at least as far from 0."""
    orders = np.array(list(permutations(range(len(preferred)))))
    centred = effects - effects.mean()
    products = np.abs(preferred[orders] @ centred)
    return float((products >= abs(preferred @ centred) - 1e-12).mean())


def report(checkpoint: Path, users: int, titles: int, questions: int, seed: int) -> str:
    """`table` for both kinds of service, then the preferences. The services' seed must not be the recipe's."""
    spark = spark_session("tiny-llama-value", **{"spark.master": "local[2]", "spark.driver.memory": "3g"})
    services = training_texts(spark, users, titles, seed)
    spark.stop()
    found = [answer for texts in services for answer in answers(texts, checkpoint, questions, seed)]
    lines = [table(found), ""]
    effects = np.array([STYLE_EFFECT[name] for name in STYLE_NAMES])
    for what, preferred, wanted in (
        ("styles", style_preferences(found), effects),
        ("bands", band_preferences(found), np.arange(len(BANDS), dtype=float)),
    ):
        correlation = np.corrcoef(preferred, wanted)[0, 1]
        shown = " ".join(f"{each:+.3f}" for each in preferred)
        lines.append(
            f"log-probability by {what}: {shown}; correlation with their effects {correlation:+.2f}, "
            f"as far from 0 by chance: {chance(preferred, wanted):.0%}"
        )
    return "\n".join(lines)


def table(found: Sequence[Answer]) -> str:
    """The values of POLICIES by number of options, and the model's shares of what taste and reader gain over random."""
    lines = [
        f"{'options':<8} {'questions':>9} " + " ".join(f"{name:>8}" for name in POLICIES) + "  of reader  of taste"
    ]
    for least, most in ((2, 40), *SIZES):
        part = [each.values() for each in found if least <= len(each.logprobs) <= most]
        random, reader, model, taste = means = np.mean(part, axis=0)
        shares = [(model - random) / (best - random) for best in (reader, taste)]
        values = " ".join(f"{mean:>8.4f}" for mean in means)
        lines.append(f"{f'{least}-{most}':<8} {len(part):>9,} {values} {shares[0]:>10.1%} {shares[1]:>9.1%}")
    return "\n".join(lines)
