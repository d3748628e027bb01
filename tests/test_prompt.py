"""The prompt's grammar: rendered text is parsed back, and Spark and Python render the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.prompt import (
    ANSWER,
    LABELS,
    Choice,
    Context,
    Option,
    Viewing,
    choice_text,
    context_text,
    history_begins,
    option_lines,
)
from schemas.tables import MAX_ARTWORKS

# Catalogue text after spark_jobs.prompts.one_line: one line, without `;`.
texts = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=";"), min_size=1, max_size=12).map(
    lambda text: f"{text} ({len(text)})"
)
themes = st.lists(texts.map(lambda text: text.replace(",", "")), max_size=4).map(tuple)
marks = st.none() | st.sampled_from(["played often", "played very seldom"])
histories = st.lists(st.builds(Viewing, texts, st.booleans()), max_size=5).map(tuple)
options = st.lists(st.builds(Option, texts, marks), min_size=1, max_size=12).map(tuple)
contexts = st.builds(Context, themes, histories, st.none() | texts)
choices = st.builds(Choice, texts, options, st.none() | texts)


def test_the_text_of_a_context() -> None:
    context = Context(("comedy", "drama"), (Viewing("Big (1988): comedy"), Viewing("Heat", True)), "viewers of war")
    assert context.text == (
        "Choose the artwork that the user is most likely to play.\n"
        "Leading themes: comedy, drama\n"
        "Taste group: viewers of war\n"
        "Watched, latest first:\n"
        "- Big (1988): comedy\n"
        "- Heat; left early\n"
    )
    assert Context().text.endswith("Leading themes: not known yet\nWatched, latest first:\n- nothing yet\n")


def test_the_text_of_a_choice() -> None:
    choice = Choice("Alien (1979): horror", (Option("an egg", "played often"), Option("a cat")), "In space.")
    assert choice.text == ("Title: Alien (1979): horror\nAbout: In space.\n1. an egg; played often\n2. a cat\nAnswer: ")


@given(contexts)
def test_a_context_is_read_back(context: Context) -> None:
    assert Context.parse(context.text) == context
    lines = context.text.splitlines()
    assert len(lines) - history_begins(lines) == max(1, len(context.viewings))


@given(choices)
def test_a_choice_is_read_back(choice: Choice) -> None:
    assert Choice.parse(choice.text) == choice
    assert len(option_lines(choice.text.split("\n"))) == len(choice.options)


@given(choices, st.integers(0, 11))
def test_a_rotation_keeps_the_options_and_numbers_them_anew(choice: Choice, places: int) -> None:
    places %= len(choice.options)
    turned = Choice.parse(choice.rotated(places).text)
    assert turned.options == choice.options[places:] + choice.options[:places]
    assert turned.rotated(len(choice.options) - places) == choice


@pytest.mark.parametrize("text", ["", "1. a\n2. b\n", "Title: x\n1. a\n3. b\nAnswer: ", "Title: x\n1. a\nAnswer: 1"])
def test_a_text_that_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a choice"):
        Choice.parse(text)


@given(choices, contexts)
def test_letters_take_the_place_of_numbers_and_of_nothing_else(choice: Choice, context: Context) -> None:
    labels = LABELS["letters"]
    text = labels.put_in(choice.text)
    assert text.endswith("\nAnswer:")
    before, after = choice.text.split("\n"), text.split("\n")
    places = option_lines(before)
    assert [line.partition(". ")[0] for line in (after[place] for place in places)] == list(labels.names[: len(places)])
    assert [after[place].partition(". ")[2] for place in places] == [before[n].partition(". ")[2] for n in places]
    assert [line for n, line in enumerate(after[:-1]) if n not in places] == before[: places[0]]
    assert labels.put_in(context.text + choice.text) == context.text + text
    assert labels.put_in(choice.text.removesuffix(ANSWER)) == text.removesuffix(labels.answer)
    assert LABELS["numbers"].put_in(choice.text) == choice.text


def test_every_label_completes_the_same_line() -> None:
    for labels in LABELS.values():
        assert len(set(labels.names)) == MAX_ARTWORKS
        assert [labels.answer + each for each in labels.tokens] == [ANSWER + name for name in labels.names]


@pytest.mark.parametrize("text", ["", "- a\n", "Leading themes: a\nWatched, latest first:\n- b\n"])
def test_a_text_that_is_no_context_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a context"):
        Context.parse(text)


def test_numbers_in_a_titles_text_are_no_options() -> None:
    choice = Choice("1. Film", (Option("2. a"), Option("3. b")), "2. x")
    assert Choice.parse(choice.text) == choice


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(contexts, min_size=20, max_size=40))
def test_spark_renders_contexts_as_python_does(spark: SparkSession, found: list[Context]) -> None:
    rows = [
        (list(each.themes), each.taste_group, [(viewing.title, viewing.left_early) for viewing in each.viewings])
        for each in found
    ]
    schema = "themes array<string>, taste_group string, viewings array<struct<line: string, left_early: boolean>>"
    text = context_text(F.col("themes"), F.col("taste_group"), F.col("viewings"))
    rendered = [row[0] for row in spark.createDataFrame(rows, schema).select(text).collect()]
    assert rendered == [each.text for each in found]


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(choices, min_size=20, max_size=40))
def test_spark_renders_choices_as_python_does(spark: SparkSession, found: list[Choice]) -> None:
    rows = [(each.title, each.about, [(option.caption, option.band) for option in each.options]) for each in found]
    schema = "title string, about string, options array<struct<caption: string, band: string>>"
    text = choice_text(F.col("title"), F.col("about"), F.col("options"))
    rendered = [row[0] for row in spark.createDataFrame(rows, schema).select(text).collect()]
    assert rendered == [each.text for each in found]
