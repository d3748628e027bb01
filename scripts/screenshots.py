"""Takes the README's pictures of the page (`make screenshots`): a user's row and a title, of a warehouse with a night.

Needs Debian's Chromium (apt-get install chromium).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from browsing.app import link
from browsing.server import running
from browsing.users import some_user, user_page
from schemas.settings import settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
# The README shows them at half this width; JPEG keeps each under 200 kB.
_SIZE, _QUALITY = {"width": 1100, "height": 780}, 78


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("screenshots: there is no Chromium on this machine: apt-get install chromium")
    config = settings()
    user_id = some_user(config.warehouse)
    if user_id is None:
        sys.exit(f"screenshots: {config.warehouse} has no choices: run `marquee night` first")
    title_id = user_page(config.warehouse, user_id).row[0].title_id
    views = {"user": link("user", id=user_id), "title": link("title", id=title_id)}
    with running(config) as address, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=chromium).new_page(base_url=address, viewport=_SIZE)  # type: ignore[arg-type]
        for name, view in views.items():
            page.goto(view)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=DOCS / f"{name}.jpg", type="jpeg", quality=_QUALITY)
            print(f"{DOCS / name}.jpg: {(DOCS / f'{name}.jpg').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
