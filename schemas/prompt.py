"""The prompt: its grammar, and how it is rendered and parsed. No other module knows its words.

A context, of a user:

    Choose the artwork that the user is most likely to play.
    Leading themes: comedy, drama                    or: not known yet
    Taste group: viewers of crime, such as Heat      if there is one
    Watched, latest first:
    - Big (1988): comedy, drama                      one line per viewing, or: - nothing yet
    - Heat (1995): crime; left early

and a choice, of a title:

    Title: Alien (1979): horror
    About: In space.                                 if there is a synopsis
    1. an egg; played often                          one line per option
    2. a cat
    Answer:

Every line except `Answer: ` ends in a line break, so that a prompt can be tokenized line by line and one that is too
long loses its last viewings. spark_jobs/prompts.py removes line breaks and `;` from catalogue text.

Tables have choices with numbers, whichever model reads them. A model whose tokenizer splits numbers reads letters:
`Labels.put_in` writes them when the choice is tokenized.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Literal, Self

from schemas.tables import MAX_ARTWORKS

if TYPE_CHECKING:
    from pyspark.sql import Column

PROMPT_FORMAT = "marquee-1"
"""Name of this grammar; a checkpoint records the one it was trained on."""

ANSWER = "Answer: "
"""The end of every choice: the model's next token is the label of the option that it picks."""

INSTRUCTION_LINES = 1
"""Leading lines of a context that are the same for every user."""

_INSTRUCTION = "Choose the artwork that the user is most likely to play."
_THEMES, _NO_THEMES = "Leading themes: ", "not known yet"
_TASTE_GROUP = "Taste group: "
_WATCHED = "Watched, latest first:"
_VIEWING, _NO_VIEWING = "- ", "nothing yet"
_TITLE, _ABOUT = "Title: ", "About: "
# Separates catalogue text from what Marquee adds to the line.
_MARK = "; "
_LEFT_EARLY = "left early"
_LISTED = ", "


@dataclass(frozen=True)
class Viewing:
    """A watched title, as its line names it, and whether it was left early."""

    title: str
    left_early: bool = False


@dataclass(frozen=True)
class Context:
    """What a prompt says about a user: leading themes, the heaviest first; viewings, the latest first."""

    themes: tuple[str, ...] = ()
    viewings: tuple[Viewing, ...] = ()
    taste_group: str | None = None

    @property
    def text(self) -> str:
        group = [] if self.taste_group is None else [f"{_TASTE_GROUP}{self.taste_group}"]
        viewings = [_VIEWING + _marked(each.title, _LEFT_EARLY if each.left_early else None) for each in self.viewings]
        themes = _THEMES + (_LISTED.join(self.themes) or _NO_THEMES)
        return _lines([_INSTRUCTION, themes, *group, _WATCHED, *(viewings or [_VIEWING + _NO_VIEWING])])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of a context. Raises ValueError if it is not one."""
        lines = text.removesuffix("\n").split("\n")
        end = history_begins(lines)
        head, viewings = lines[:end], [_unmarked(line.removeprefix(_VIEWING)) for line in lines[end:]]
        group = head.pop(2).removeprefix(_TASTE_GROUP) if len(head) == 4 else None
        themes = head[1].removeprefix(_THEMES) if len(head) == 3 else ""
        found = cls(
            () if themes == _NO_THEMES else tuple(themes.split(_LISTED)),
            tuple(
                Viewing(title, mark == _LEFT_EARLY) for title, mark in viewings if (title, mark) != (_NO_VIEWING, None)
            ),
            group,
        )
        # This compares the lines that are the same in every context, too.
        if found.text != text:
            raise ValueError(f"not a context: {text!r}")
        return found


@dataclass(frozen=True)
class Option:
    """One artwork of a choice: its caption, and the band of its play rate if the prompt has it."""

    caption: str
    band: str | None = None


@dataclass(frozen=True)
class Choice:
    """What a prompt says about a title: its line, its options in the order of their numbers, and its synopsis."""

    title: str
    options: tuple[Option, ...]
    about: str | None = None

    @property
    def text(self) -> str:
        about = [] if self.about is None else [f"{_ABOUT}{self.about}"]
        options = [f"{n}. {_marked(each.caption, each.band)}" for n, each in enumerate(self.options, start=1)]
        return _lines([f"{_TITLE}{self.title}", *about, *options]) + ANSWER

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of a choice. Raises ValueError if it is not one."""
        lines = text.split("\n")
        listed = [lines[place] for place in option_lines(lines)]
        options = tuple(Option(*_unmarked(re.sub(r"^\d+\. ", "", line))) for line in listed)
        head = lines[: len(lines) - len(listed) - 1]
        about = head[1].removeprefix(_ABOUT) if len(head) > 1 else None
        found = cls(head[0].removeprefix(_TITLE) if head else "", options, about)
        if found.text != text:
            raise ValueError(f"not a choice: {text!r}")
        return found

    def rotated(self, places: int) -> Self:
        """The choice with its first `places` options moved to the end."""
        return replace(self, options=self.options[places:] + self.options[:places])


@dataclass(frozen=True)
class Labels:
    """The labels of options in the prompts of one model: the `word` for one, `names`, the first option's first, and the
    text `answer`, with which a choice ends, after which each label is one token.
    """

    word: str
    names: tuple[str, ...]
    answer: str

    @property
    def tokens(self) -> tuple[str, ...]:
        """The text of each label's token: after `answer` it makes `Answer: ` and the label's name."""
        return tuple(ANSWER.removeprefix(self.answer) + name for name in self.names)

    def put_in(self, text: str) -> str:
        """A choice, with or without its last line, or a whole prompt, as the model reads it: labelled by these."""
        if self is LABELS["numbers"]:
            return text
        lines = text.split("\n")
        for name, place in zip(self.names, option_lines(lines), strict=False):
            lines[place] = name + lines[place].lstrip(digits)
        if lines[-1] == ANSWER:
            lines[-1] = self.answer
        return "\n".join(lines)


LabelKind = Literal["numbers", "letters"]

LABELS: dict[LabelKind, Labels] = {
    "numbers": Labels("number", tuple(map(str, range(1, MAX_ARTWORKS + 1))), ANSWER),
    # A tokenizer joins a space to the letter after it.
    "letters": Labels("letter", tuple((ascii_uppercase + ascii_lowercase)[:MAX_ARTWORKS]), ANSWER.rstrip()),
}
"""1 to 40; or A to Z, then a to n."""


def history_begins(lines: Sequence[str]) -> int:
    """Index of the first viewing among the lines of a context. Viewings come last."""
    place = len(lines)
    while place and lines[place - 1].startswith(_VIEWING):
        place -= 1
    return place


def option_lines(lines: Sequence[str]) -> range:
    """Indices of the options among the lines of a choice. They come right before the answer, numbered from 1."""
    end = len(lines) - 1
    return next((range(first, end) for first in range(max(end, 0)) if _numbered(lines[first:end])), range(0))


def _numbered(lines: Sequence[str]) -> bool:
    return all(line.startswith(f"{number}. ") for number, line in enumerate(lines, start=1))


def context_text(themes: Column, taste_group: Column, viewings: Column) -> Column:
    """`Context.text` as a Spark expression. `themes` is an array of strings, `taste_group` a string or null, `viewings`
    an array of structs (line, left_early).
    """
    from pyspark.sql import functions as F

    shown = F.transform(
        viewings,
        lambda viewing: F.concat(
            F.lit(_VIEWING),
            viewing["line"],
            F.when(viewing["left_early"], _MARK + _LEFT_EARLY).otherwise(""),
            F.lit("\n"),
        ),
    )
    return F.concat(
        F.lit(f"{_INSTRUCTION}\n{_THEMES}"),
        F.when(F.size(themes) > 0, F.array_join(themes, _LISTED)).otherwise(_NO_THEMES),
        F.coalesce(F.concat(F.lit(f"\n{_TASTE_GROUP}"), taste_group), F.lit("")),
        F.lit(f"\n{_WATCHED}\n"),
        F.when(F.size(viewings) > 0, F.array_join(shown, "")).otherwise(f"{_VIEWING}{_NO_VIEWING}\n"),
    )


def choice_text(title: Column, about: Column, options: Column) -> Column:
    """`Choice.text` as a Spark expression. `title` is a string, `about` a string or null, `options` an array of structs
    (caption, band), where band may be null.
    """
    from pyspark.sql import functions as F

    def line(option: Column, place: Column) -> Column:
        band = F.coalesce(F.concat(F.lit(_MARK), option["band"]), F.lit(""))
        return F.concat((place + 1).cast("string"), F.lit(". "), option["caption"], band, F.lit("\n"))

    return F.concat(
        F.lit(_TITLE),
        title,
        F.lit("\n"),
        F.coalesce(F.concat(F.lit(_ABOUT), about, F.lit("\n")), F.lit("")),
        F.array_join(F.transform(options, line), ""),
        F.lit(ANSWER),
    )


def leading_theme(context: str) -> str:
    """The first of the leading themes in the SQL expression `context`, as DataFusion's SQL; `not known yet` if none."""
    line = f"split_part({context}, chr(10), {INSTRUCTION_LINES + 1})"
    return f"split_part(split_part({line}, '{_THEMES}', 2), '{_LISTED}', 1)"


def without_bands(choice: Column) -> Column:
    """The text of a choice without the bands of play rates, as a Spark expression."""
    from pyspark.sql import functions as F

    # Catalogue text has no `;`.
    return F.regexp_replace(choice, f"{_MARK}[^\\n]*", "")


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _marked(text: str, mark: str | None) -> str:
    return text if mark is None else f"{text}{_MARK}{mark}"


def _unmarked(line: str) -> tuple[str, str | None]:
    text, separator, mark = line.partition(_MARK)
    return text, mark if separator else None
