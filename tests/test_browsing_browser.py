"""The page in a real browser: Debian's Chromium, by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from browsing.app import link
from browsing.server import running
from schemas.settings import Settings
from tests.browsing_data import CAPTION, HOSTILE, make_warehouse
from tests.test_serving import DS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

SIZES = {"phone": (390, 800), "desktop": (1280, 900)}
VIEWS = ["/", "/user?id=42", "/pair?user=42&title=7", "/title?id=7", f"/night?ds={DS}", "/models", "/search?q=heat"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of a warehouse."""
    config = Settings(warehouse=str(make_warehouse(tmp_path_factory.mktemp("browser"))), registry=None)
    with running(config) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(base_url=address)
    made = context.new_page()
    yield made
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_every_view_fits_and_nothing_is_refused(browser: Browser, address: str, size: str) -> None:
    """No view is wider than the window, and the browser reports neither an error nor a breach of the page's policy."""
    width, height = SIZES[size]
    page = browser.new_page(base_url=address, viewport={"width": width, "height": height})
    reports: list[str] = []
    page.on("console", lambda message: reports.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: reports.append(str(error)))
    for view in VIEWS:
        page.goto(view)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
    page.close()
    # Images that are missing, on purpose.
    assert not [each for each in reports if "Failed to load resource" not in each]


def test_a_view_has_the_roles_that_screen_readers_go_by(page: Page) -> None:
    for view in VIEWS:
        page.goto(view)
        for role in ("banner", "main", "contentinfo", "search"):
            expect(page.get_by_role(role)).to_have_count(1)
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        expect(page.get_by_label("User, title or artwork")).to_be_visible()
        assert page.locator("img:not([alt])").count() == 0


def test_a_search_leads_to_a_user_and_a_picture_to_its_reason(page: Page) -> None:
    page.goto("/")
    page.get_by_label("User, title or artwork").fill("42")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="User 42").click()
    page.get_by_role("link", name="Heat (1995)").click()
    heading = page.get_by_role("heading", name="Why user 42 sees this artwork")
    expect(heading).to_be_focused()
    expect(page).to_have_url(f"{page.url.partition('/pair')[0]}/pair?user=42&title=7")
    # The row stays, and the address alone shows the same.
    expect(page.get_by_role("heading", name="User 42", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Why user 42 sees this artwork")).to_be_visible()
    expect(page.get_by_role("row", name="A dark wide shot")).to_contain_text("shown")


def test_the_keyboard_reaches_content_and_pictures(page: Page) -> None:
    page.goto("/user?id=42")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    poster = page.locator("a.poster").first
    expect(poster).to_be_focused()
    assert poster.evaluate("link => getComputedStyle(link).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#why h2")).to_be_focused()


def test_a_hostile_id_is_shown_and_not_run(page: Page) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(link("user", id=HOSTILE))
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert('x')</script>")
    page.goto("/user?id=42")
    page.get_by_role("link", name="<i>Odd</i>").click()
    expect(page.locator("#why h2")).to_contain_text("<i>Odd</i>")
    expect(page.locator("#why")).to_contain_text("It is the only artwork")


@pytest.mark.parametrize("caption", [CAPTION, "A dark wide shot"])
def test_an_image_that_is_missing_gives_way_to_a_drawing(page: Page, caption: str) -> None:
    """The first is a file that does not exist, the second at an address that does not answer."""
    page.goto("/title?id=7")
    image = page.get_by_role("img", name=caption).first
    expect(image).to_have_attribute("src", "/image?artwork=" + ("missing" if caption == CAPTION else "a2"))
    expect(image).to_have_js_property("naturalWidth", 400)


def test_dark_is_as_the_system_is(browser: Browser, address: str) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        page = browser.new_page(base_url=address, color_scheme="dark" if scheme == "dark" else "light")
        page.goto("/")
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert colours == {"rgb(255, 255, 255)", "rgb(20, 23, 26)"}


def test_without_scripts_a_picture_is_a_link(browser: Browser, address: str) -> None:
    page = browser.new_context(base_url=address, java_script_enabled=False).new_page()
    page.goto("/user?id=42")
    page.get_by_role("link", name="Heat (1995)").click()
    expect(page.get_by_role("heading", name="Why user 42 sees this artwork")).to_be_visible()
    page.close()
