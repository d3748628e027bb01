"""The visible text of an HTML page."""

from __future__ import annotations

import re
from html import unescape


def page_text(html: str) -> str:
    """The text of the page's body, with single spaces."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html[html.index("</head>") :])))
