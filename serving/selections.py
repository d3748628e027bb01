"""The published choices, as a service looks them up. The user's id gives the bucket, so only one partition is read.

selections = Selections.of("warehouse")
selections.of_user("42")
selections.of_pair("42", "7") or selections.default("7")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from deltalake import DeltaTable

from schemas.buckets import bucket_of
from schemas.store import buckets_of, literal, open_table, rows
from schemas.tables import ARTWORK_SELECTIONS, TITLE_DEFAULTS


@dataclass(frozen=True)
class Selections:
    """The choices at the time when this object was made."""

    selections: DeltaTable
    defaults: DeltaTable
    buckets: int

    @classmethod
    def of(cls, warehouse: str) -> Self:
        selections = open_table(warehouse, ARTWORK_SELECTIONS)
        return cls(selections, open_table(warehouse, TITLE_DEFAULTS), buckets_of(selections))

    def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """Every choice for a user, by title."""
        return rows(
            f"SELECT * FROM selections WHERE bucket = {bucket_of(user_id, self.buckets)} "
            f"AND user_id = {literal(user_id)} ORDER BY title_id",
            selections=self.selections,
        )

    def of_pair(self, user_id: str, title_id: str) -> dict[str, Any] | None:
        """The choice for a pair, or None if there is none."""
        found = rows(
            f"SELECT * FROM selections WHERE bucket = {bucket_of(user_id, self.buckets)} "
            f"AND user_id = {literal(user_id)} AND title_id = {literal(title_id)}",
            selections=self.selections,
        )
        return found[0] if found else None

    def default(self, title_id: str) -> str | None:
        """The artwork for a user without a choice; None for a title without active artworks."""
        found = rows(
            f"SELECT artwork_id FROM defaults WHERE title_id = {literal(title_id)}",
            defaults=self.defaults,
        )
        return str(found[0]["artwork_id"]) if found else None

    def some_user(self) -> str | None:
        """The first user by id, as an example of a warehouse's users; None if there are no choices."""
        found = rows("SELECT user_id FROM selections ORDER BY user_id LIMIT 1", selections=self.selections)
        return str(found[0]["user_id"]) if found else None
