"""Months go without a halt of reads and writes, from wherever an earlier try has left them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest

from percorso.http.services import Services
from percorso.queries.interactions import Filters
from percorso.queries.journey import page
from percorso.storage import dropping
from percorso.storage.database import WriteSession, reading
from percorso.storage.dropping import Leaving
from percorso.workers.retention import SERVER, Outcome
from retaining import NOW, deletions, partitions_of, retain
from support import Make
from writing import Database, count, processes, sender_ids, statuses, until

MONTH = "interactions_2026_01"
OLD = "2026-01-15T00:00:00Z"
LEAVING = Leaving("interactions", MONTH, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'percorso-retention' "
    "AND wait_event_type = 'Lock' AND datname = current_database()"
)


@asynccontextmanager
async def used(url: str, table: str = "interactions") -> AsyncIterator[None]:
    """A transaction has read this table and goes on, within the block."""
    reader = await asyncpg.connect(url)
    try:
        async with reader.transaction():
            await reader.fetch(f"SELECT FROM {table} LIMIT 1")
            yield
    finally:
        await reader.close()


async def _session(url: str, **others: str) -> WriteSession:
    return WriteSession(await asyncpg.connect(url, server_settings=SERVER | others))


async def _begin(url: str, steps: int) -> None:
    """Get as far as: 1 written down, 2 detached by half, 3 detached, 4 renamed."""
    session = await _session(url, lock_timeout="50")
    await dropping.intend(session, LEAVING)
    detach = f"ALTER TABLE interactions DETACH PARTITION {MONTH} CONCURRENTLY"
    if steps == 2:
        async with used(url):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await session.execute(detach)
    elif steps > 2:
        await session.execute(detach)
    if steps > 3:
        await session.execute(f"ALTER TABLE {MONTH} RENAME TO {LEAVING.remains}")
    await session.close()


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
async def test_what_a_crash_has_left_is_finished(
    services: Services, database_url: str, database: Database, make: Make, steps: int
) -> None:
    old, new = make(occurred_at=OLD), make(occurred_at="2026-06-01T00:00:00Z")
    await statuses(services, old, new)
    await _begin(database_url, steps)
    assert (await retain(database_url, retention_days=30)).partitions == 1
    assert await partitions_of(database, "interactions") == ["interactions_2026_06"]
    assert await sender_ids(database) == [new["id"]]
    assert await count(database, "retention_drops") == 0
    assert sum(len(row["hours"]) for row in await deletions(database)) == 1
    assert await retain(database_url, retention_days=30) == Outcome()


@pytest.mark.parametrize(("steps", "stays"), [(1, True), (2, False), (3, False), (4, False)])
async def test_what_was_only_written_down_stays_where_it_is_to_be_kept_after_all(
    services: Services, database_url: str, database: Database, make: Make, steps: int, *, stays: bool
) -> None:
    await statuses(services, make(occurred_at=OLD))
    await _begin(database_url, steps)
    await retain(database_url, retention_days=3000)
    assert await partitions_of(database, "interactions") == [MONTH] * stays
    assert await count(database, "interactions") == stays
    assert await count(database, "retention_drops") == 0


async def test_a_month_made_anew_while_the_old_one_goes_is_not_taken_for_it(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    old, late = make(occurred_at=OLD), make(occurred_at=OLD)
    await statuses(services, old)
    await _begin(database_url, 4)
    assert await statuses(services, late) == ["stored"]
    assert await partitions_of(database, "interactions") == [MONTH, LEAVING.remains]
    await retain(database_url, retention_days=3000)
    assert await partitions_of(database, "interactions") == [MONTH]
    assert await sender_ids(database) == [late["id"]]
    assert await statuses(services, old) == ["duplicate"]


async def test_what_others_have_dropped_is_forgotten(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    await statuses(services, make(occurred_at=OLD))
    await _begin(database_url, 4)
    await database.execute(f"DROP TABLE {LEAVING.remains}")
    assert await retain(database_url) == Outcome()
    assert await count(database, "retention_drops") == 0


async def test_a_partition_that_an_operator_detached_is_left_to_them(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    await statuses(services, make(occurred_at=OLD))
    await database.execute(f"ALTER TABLE interactions DETACH PARTITION {MONTH}")
    assert await retain(database_url, retention_days=30) == Outcome()
    assert await partitions_of(database, "interactions") == [MONTH]


async def test_a_month_in_use_for_long_is_left_for_later_and_nothing_waits_for_it(
    services: Services, database_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.storage.dropping._LONG", "0 s")
    await statuses(services, make(occurred_at=OLD))
    async with used(database_url):
        outcome = await retain(database_url, retention_days=30)
        assert (outcome.partitions, outcome.postponed) == (0, [MONTH])
        assert await statuses(services, make(occurred_at=OLD)) == ["stored"]
    assert (await retain(database_url, retention_days=30)).partitions == 1


async def test_a_detach_that_waits_makes_no_one_wait_and_what_comes_for_its_month_is_to_be_sent_again(
    services: Services, client: httpx.AsyncClient, database_url: str, database: Database, make: Make
) -> None:
    await statuses(services, make(occurred_at=OLD))
    late = [make(occurred_at=OLD) for _ in range(3)]
    async with used(database_url):
        running = asyncio.create_task(retain(database_url, retention_days=30))
        await until(lambda: database.fetchval(WAITS))
        # Of a small group and of a large one, all that is for another month is stored.
        many = [make() for _ in range(300)]
        told = await statuses(services, make(), late[0], make(occurred_at="2026-02-01T00:00:00Z"))
        assert told == ["stored", "retry", "stored"]
        assert await statuses(services, *many, late[0]) == ["stored"] * 300 + ["retry"]
        answer = await client.post("/v1/interactions", json=late[1])
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"]
        answer = await client.post("/v1/interactions/batch", json=[late[2], make()])
        assert (answer.json()["stored"], answer.json()["retry"]) == (1, 1)
        assert (await client.get("/v1/customers/email:anna@example.com/journey")).status_code == 200
    assert (await running).partitions == 1
    assert await count(database, "rejected_interactions") == 0
    assert await statuses(services, *late) == ["stored"] * 3


async def test_months_dropped_under_load_cost_no_one_anything(
    database_url: str, database: Database, make: Make
) -> None:
    kept: list[str] = []
    sent: list[str] = []
    known: set[int] = set()
    errors: list[object] = []
    async with processes(database_url, 2) as running:
        going = True

        async def write(services: Services, number: int) -> None:
            person = {"email": f"c{number}@example.com"}
            while going:
                new = [make(customer=person, occurred_at=f"2026-0{month}-15T00:00:00Z") for month in (1, 2, 5, 6)]
                if number % 2:
                    new += [make(customer=person, occurred_at="2026-06-15T00:00:00Z") for _ in range(250)]
                left = new
                while left:
                    told = await statuses(services, *left)
                    errors.extend(status for status in told if status not in {"stored", "retry"})
                    left = [item for item, status in zip(left, told, strict=True) if status == "retry"]
                sent.extend(item["id"] for item in new)
                kept.extend(item["id"] for item in new[2:])
                known.add(number)

        async def read(services: Services, number: int) -> None:
            identity = services.identifiers.of({"email": f"c{number}@example.com"})[0].id
            await until(lambda: number in known)
            while going:
                async with reading(services.engine) as session:
                    journey = await page(session, identity, Filters(limit=20, order="asc"))
                errors.extend(() if journey.items else ["nothing to read"])

        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(write(running[number % 2], number))
                tasks.create_task(read(running[number % 2], number))
            dropped = 0
            while dropped < 12:
                dropped += (await retain(database_url, now=NOW, retention_days=46)).partitions
                await until(lambda: set(sent) - set(kept))
            going = False
        assert errors == []
        await retain(database_url, now=NOW, retention_days=46)
    assert await count(database, "rejected_interactions") == 0
    assert await sender_ids(database) == sorted(kept)
    assert await count(database, "interaction_keys") == len(sent)
