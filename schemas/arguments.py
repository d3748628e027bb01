"""Parsers of command-line arguments that several commands share."""

from __future__ import annotations

import argparse
import re
from datetime import date

from schemas.paths import warehouse_place

FIRST_NIGHT, LAST_NIGHT = date(1970, 1, 1), date(2199, 12, 31)
"""The range of nights. Every date computed from a night in it fits the date types of all libraries that read it."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def night_date(text: str) -> date:
    """`--ds`: YYYY-MM-DD and nothing else, from FIRST_NIGHT to LAST_NIGHT."""
    try:
        found = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None or not FIRST_NIGHT <= found <= LAST_NIGHT:
        raise argparse.ArgumentTypeError(
            f"ds is {text!r}, expected a date as YYYY-MM-DD, from {FIRST_NIGHT} to {LAST_NIGHT}"
        )
    return found


def utf8(text: str) -> str:
    """An id. Python turns bytes of an argument that are not UTF-8 into surrogates, which no table can store."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise argparse.ArgumentTypeError(f"{text!a} is not UTF-8")
    return text


def place(text: str) -> str:
    """`--warehouse` and the like: a folder as an absolute path, or the URI of an object store."""
    try:
        return warehouse_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
