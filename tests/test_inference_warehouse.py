"""How the vLLM stage reads and writes Delta tables, where scoring does not show it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from inference.warehouse import ScoringTables
from schemas.tables import USER_CONTEXTS
from tests.inference_data import DS, append


def test_a_partition_is_read_in_its_order_and_never_whole(tmp_path: Path) -> None:
    users, characters = [f"u{number}" for number in range(20_000)], 1000
    rows = [
        {"ds": DS, "bucket": 3, "user_id": user_id, "context": user_id.ljust(characters), "pairs": []}
        for user_id in users
    ]
    USER_CONTEXTS.create(str(tmp_path / USER_CONTEXTS.name))
    append(tmp_path, USER_CONTEXTS, rows)
    before, most, read = pa.total_allocated_bytes(), 0, []
    for batch in ScoringTables(str(tmp_path), DS).batches(USER_CONTEXTS, ["bucket", "context", "user_id"], bucket=3):
        most = max(most, pa.total_allocated_bytes() - before)
        assert batch.schema.names == ["bucket", "context", "user_id"]
        assert set(batch["bucket"].to_pylist()) == {3}
        read += batch["user_id"].to_pylist()
    assert read == users
    assert most < len(users) * characters / 4
