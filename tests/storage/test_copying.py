"""Rows put together by hand say to Postgres what was meant."""

from datetime import UTC, datetime, timedelta

import pytest
from asyncpg.pgproto.pgproto import UUID

from percorso.storage import commits
from percorso.storage.database import WriteSession
from percorso.storage.partitions import ensure_days
from writing import Database

AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("size", [0, 1, 3])
async def test_a_row_of_the_commit_log_is_copied_as_it_was_given(database: Database, size: int) -> None:
    session = WriteSession(database)
    await ensure_days(session, [AT])
    identities = [UUID(bytes([number]) * 16) for number in range(size)]
    interactions = [UUID(bytes([number + 100]) * 16) for number in range(size)]
    occurred = [number * 3_600_000 for number in range(size)]
    async with session.transaction():
        await commits.record(
            session, 7, "changed", at=AT, occurred_ms=occurred, identity_ids=identities, interaction_ids=interactions
        )
        this = await session.fetchval("SELECT pg_current_xact_id()")
    [record] = await session.fetch("SELECT * FROM commits")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert dict(record) == {
        "generation": 7,
        "xid8": this,
        "at": AT,
        "what": "changed",
        "hours": [epoch + timedelta(hours=number) for number in range(size)],
        "identity_ids": identities,
        "interaction_ids": interactions,
    }
