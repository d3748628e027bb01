"""The drawn artworks of the sample services."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest

from examples.catalogue import Artwork, make_artworks, make_title
from examples.posters import poster
from examples.service import write_service
from examples.simulated import simulated_service
from examples.vocabulary import STYLE_NAMES, THEME_NAMES, TONES
from schemas.store import open_table, rows
from schemas.tables import ARTWORKS, IMAGES

DAY = date(2026, 1, 14)
MOST_BYTES = 20_000


@pytest.fixture(scope="module")
def artwork() -> Artwork:
    return make_artworks(1, make_title(1, "7"), DAY, DAY)[0]


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_every_theme_tone_and_style_is_drawn_as_a_small_whole_svg(artwork: Artwork, style: str) -> None:
    drawn = set()
    for theme, tone in product(THEME_NAMES, TONES):
        svg = poster(replace(artwork, themes=(theme,), tone=tone, style=style), "Heat")
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert len(svg) < MOST_BYTES
        drawn.add(svg)
    assert len(drawn) == len(THEME_NAMES) * len(TONES)


def test_style_place_and_figure_each_change_the_picture(artwork: Artwork) -> None:
    plain = replace(artwork, themes=("crime",), tone="calm", style="wide")
    changed = [replace(plain, style="portrait"), replace(plain, themes=("crime", "war"))]
    pictures = {poster(each, "Heat") for each in (plain, *changed, replace(plain, themes=("war", "crime")))}
    assert len(pictures) == 4
    assert poster(plain, "Heat") == poster(replace(plain, appeal=9.0, caption="another"), "Heat")


def test_a_name_is_text_and_no_markup(artwork: Artwork) -> None:
    svg = poster(artwork, '<script>alert(1)</script> & "Co"')
    assert "<script" not in svg.lower()
    assert "&AMP" not in svg
    words = "".join(ElementTree.fromstring(svg).itertext())
    assert "<SCRIPT>ALERT(1)</SCRIPT>" in words


def test_a_sample_has_an_image_for_each_artwork(tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    write_service(simulated_service(users=2, titles=4, days=2, seed=1), warehouse)
    written = rows("SELECT artwork_id, image_uri FROM artworks", artworks=open_table(str(warehouse), ARTWORKS))
    assert {row["image_uri"] for row in written} == {f"{IMAGES}/{row['artwork_id']}.svg" for row in written}
    assert {f"{IMAGES}/{file.name}" for file in (warehouse / IMAGES).iterdir()} == {row["image_uri"] for row in written}
