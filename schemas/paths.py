"""Paths, URIs and registry addresses as people write them, made absolute so that every process finds the same place."""

from __future__ import annotations

import os
import re
import sys
from urllib.parse import unquote, urlsplit

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]*)(\?.*)?")
_PASSWORD = re.compile(r"(://[^/?#\s:@]*):[^/?#\s]*@|([?&]password=)[^&\s]*")
# delta-rs reads paths as URLs, where %20 is a space, a backslash is a slash and [ begins an address; in Spark's SQL a
# backtick ends a path.
_MISTAKEN = re.compile(r"%[0-9A-Fa-f]{2}|[\[\]^|\\`\x00-\x1f\x7f]")
# At least two letters: `C:/` is not a scheme.
_ALMOST_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
REGISTRY_FORMS = (
    "sqlite:////data/registry.db, postgresql://user@host/name, mysql://user@host/name or https://host of an MLflow "
    "server"
)


def is_uri(place: str) -> bool:
    """Whether `place` is in an object store rather than a folder of this machine."""
    return "://" in place


def is_in_s3(place: str) -> bool:
    return place.startswith("s3://")


def absolute_place(place: str) -> str:
    """A folder as an absolute path without `~`, `..` or a trailing slash; the URI of an object store unchanged, except
    that Hadoop's s3a:// becomes s3://.

    Symbolic links are kept: their target may change from one night to the next. Raises ValueError for anything else.
    """
    if not place or place != place.strip():
        raise ValueError("expected a folder, or the URI of an object store, without white space around it")
    if place.lower().startswith("file:"):
        parts = urlsplit(place)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ValueError("a file: URI of this machine begins with file:///; a plain path works as well")
        if parts.query or parts.fragment:
            raise ValueError("# and ? in a file: URI are written %23 and %3F; a plain path may contain them")
        place = unquote(parts.path)
    if is_uri(place):
        if not place.partition("://")[2].strip("/"):
            raise ValueError("a URI without a bucket; expected s3://bucket/prefix or the like")
        return re.sub(r"^(?i:s3a?)://", "s3://", place.rstrip("/"))
    if _ALMOST_URI.match(place) or (place.startswith("~") and os.path.expanduser(place) == place):  # noqa: PTH111
        raise ValueError("neither a path nor a URI; a URI has :// after its scheme, and ~name is a user's home folder")
    return os.path.abspath(os.path.expanduser(place))  # noqa: PTH100, PTH111 (Path.resolve would follow links)


def warehouse_place(place: str) -> str:
    """`absolute_place` of a warehouse. Raises ValueError for a folder that delta-rs or Spark's SQL would look for
    elsewhere.
    """
    found = absolute_place(place)
    if not is_uri(found):
        # delta-rs follows links first.
        where = os.path.realpath(found)
        if mistaken := _MISTAKEN.search(found) or _MISTAKEN.search(where):
            at = "" if mistaken.string == found else f", and it links to {where!r}"
            raise ValueError(
                f"Delta's readers take {mistaken[0]!r} in a path for something else{at}; rename the folder"
            )
    return found


def absolute_registry(uri: str) -> str:
    """The address of an MLflow registry, with the path of a SQLite file made absolute.

    Raises ValueError for an address that would mean another registry in each folder or process.
    """
    if found := _SQLITE.fullmatch(uri):
        scheme, path, query = found.groups(default="")
        if any("=" not in option for option in query[1:].split("&") if option):
            raise ValueError("the text after ? is no option; a question mark in a path is written %3F")
        if "uri=" in query or path.startswith("file:"):
            raise ValueError("SQLite's own URIs are not supported; write the file's path after sqlite:///")
        if path in ("", ":memory:"):
            raise ValueError(f"a registry in memory ends with its process; expected {REGISTRY_FORMS}")
        # SQLAlchemy decodes the path: `%3F` is a question mark, and a bare one would begin the options.
        absolute = absolute_place(unquote(path)).replace("%", "%25").replace("?", "%3F")
        return f"{scheme}{absolute}{query}"
    if uri.startswith("sqlite") or not (is_uri(uri) or uri in ("databricks", "databricks-uc")):
        raise ValueError(f"no address of a registry; expected {REGISTRY_FORMS}")
    return uri


def sqlite_file(registry: str) -> str | None:
    """The file of a SQLite registry; None if a server holds the registry."""
    found = _SQLITE.fullmatch(registry)
    return unquote(found[2]) if found else None


def without_password(text: str) -> str:
    """`text` with the passwords in its addresses replaced by stars, so that it may be printed or stored."""
    return _PASSWORD.sub(lambda found: f"{found[1]}:***@" if found[1] else f"{found[2]}***", text)


if __name__ == "__main__":
    print(absolute_place(sys.argv[1]))
