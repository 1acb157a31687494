"""The commit log: one row a transaction, which names exactly what it did."""

import asyncio
from datetime import UTC, datetime

import asyncpg

from percorso.http.services import Services
from percorso.ingest import enrich
from percorso.storage.database import writing
from support import Make
from writing import Database, occupied, queued, statuses, take, until

READABLE = (
    "SELECT interaction_ids FROM commits WHERE xid8 < pg_snapshot_xmin(pg_current_snapshot()) "
    "ORDER BY generation, xid8"
)  # fmt: skip


async def test_one_row_a_group_names_what_was_new(
    one_lane: Services, database_url: str, database: Database, make: Make
) -> None:
    known = make(occurred_at="2026-03-01T10:59:59.999Z", customer={"email": "anna@example.com", "phone": "+39066982"})
    async with occupied(one_lane, database, database_url, known):
        new = [make(occurred_at=f"2026-03-01T1{n}:30:00+01:00", customer={"crm_id": str(n)}) for n in range(3)]
        tasks = [asyncio.create_task(take(one_lane, item, known, item, {"broken": 1})) for item in new]
        await until(lambda: queued() == 13)
    stored = [(await task)[0] for task in tasks]
    rows = await database.fetch("SELECT *, xid8::text AS xid, xmin::text AS row_xmin FROM commits ORDER BY xid8")
    assert [row["what"] for row in rows] == ["stored", "stored"]
    assert set(rows[1]["interaction_ids"]) == {verdict.interaction_id for verdict in stored}
    assert len(rows[1]["interaction_ids"]) == len(rows[1]["identity_ids"]) == 3
    pairs = set(zip(rows[1]["identity_ids"], rows[1]["interaction_ids"], strict=True))
    facts = await database.fetch(
        "SELECT identity_id, id FROM interactions WHERE id = ANY($1)", rows[1]["interaction_ids"]
    )
    assert pairs == {tuple(fact) for fact in facts}
    assert rows[0]["hours"] == [datetime(2026, 3, 1, 10, tzinfo=UTC)]
    assert rows[1]["hours"] == [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (9, 10, 11)]
    assert all(int(row["xid"]) % 2**32 == int(row["row_xmin"]) for row in rows)
    assert all(row["generation"] == one_lane.deployment.generation for row in rows)
    # The transaction of the log row is that of the facts.
    assert await database.fetchval("SELECT count(DISTINCT xmin::text) FROM interactions") == 2


async def test_what_stores_nothing_new_is_not_logged(services: Services, database: Database, make: Make) -> None:
    item = make()
    await statuses(services, item)
    assert await statuses(services, item, item | {"text": "x"}, {}) == ["duplicate", "conflict", "rejected"]
    assert len(await database.fetch(READABLE)) == 1


async def test_changes_and_deletions_are_logged(services: Services, database: Database, make: Make) -> None:
    [verdict] = await take(services, make(occurred_at="2026-03-01T10:30:00Z"))
    assert verdict.interaction_id is not None
    for patch in (b'{"text": "new"}', b'{"text": "new"}'):
        async with writing(services.engine) as session:
            await enrich.enrich(session, verdict.interaction_id, patch, by="t", generation=1, max_bytes=9999)
    async with writing(services.engine) as session:
        await enrich.delete(session, verdict.interaction_id, generation=1)
    rows = await database.fetch("SELECT * FROM commits ORDER BY xid8")
    assert [row["what"] for row in rows] == ["stored", "changed", "deleted"]
    for row in rows:
        assert row["interaction_ids"] == [verdict.interaction_id]
        assert row["identity_ids"] == rows[0]["identity_ids"]
        assert row["hours"] == [datetime(2026, 3, 1, 10, tzinfo=UTC)]


async def test_a_reader_sees_a_commit_once_none_can_come_before_it(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    open_ = await asyncpg.connect(database_url)
    await open_.execute("BEGIN")
    await open_.execute("SELECT pg_current_xact_id()")
    [verdict] = await take(services, make())
    assert await database.fetchval("SELECT count(*) FROM commits") == 1
    assert await database.fetch(READABLE) == []
    await open_.execute("COMMIT")
    await open_.close()
    assert [row["interaction_ids"] for row in await database.fetch(READABLE)] == [[verdict.interaction_id]]
