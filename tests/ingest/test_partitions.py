"""Partitions are there when they are needed, whoever needs them first."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from percorso.http.services import Services
from percorso.ids import unix_ms
from percorso.storage import partitions
from percorso.storage.database import WriteSession
from support import Make
from writing import Database, count, processes, retries, statuses


async def _tables(database: Database, like: str) -> list[str]:
    found = await database.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE $1", like)
    return sorted(record["relname"] for record in found)


async def test_an_interaction_is_taken_for_any_time_from_1990_to_tomorrow(
    services: Services, database: Database, make: Make
) -> None:
    now = datetime.now(UTC)
    times = ["1990-01-01T00:00:00Z", "1999-12-31T23:59:59.999Z", "2000-01-01T00:00:00+14:00"]
    items = [make(occurred_at=time) for time in (*times, (now + timedelta(hours=23)).isoformat())]
    assert await statuses(services, *items) == ["stored"] * 4
    assert await statuses(services, make(occurred_at="1989-12-31T23:59:59Z")) == ["rejected"]
    tables = await _tables(database, "interactions_%")
    assert tables[:2] == ["interactions_1990_01", "interactions_1999_12"]
    assert f"interactions_{now + timedelta(hours=23):%Y_%m}" in tables
    assert await count(database, "interactions_1999_12") == 2


async def test_two_processes_may_need_many_new_months_at_once(
    database_url: str, database: Database, make: Make
) -> None:
    before = retries()
    async with processes(database_url, 3) as running:
        batches = [
            [make(occurred_at=f"{2000 + n // 12}-{n % 12 + 1:02}-15T00:00:00Z") for n in range(40)] for _ in running
        ]
        batches[1].reverse()
        told = await asyncio.gather(*(statuses(each, *batch) for each, batch in zip(running, batches, strict=True)))
    assert told == [["stored"] * 40] * 3
    assert retries() == before
    assert len(await _tables(database, "interactions_20%")) == 40


async def test_the_same_partition_made_by_two_at_once_is_made_once(database_url: str, database: Database) -> None:
    [month] = partitions.months_of([unix_ms(datetime(2011, 11, 11, tzinfo=UTC))])
    first, second = [WriteSession(await asyncpg.connect(database_url)) for _ in range(2)]
    for months in ((month,), range(month + 1, month + 6)):
        await asyncio.gather(*(partitions.ensure_months(each, months) for each in (first, second)))
    transaction = first.transaction()
    await transaction.start()
    await partitions.ensure_months(first, (month + 9,))
    making = asyncio.create_task(partitions.ensure_months(second, (month + 9,)))
    await transaction.commit()
    await making
    for each in (first, second):
        await each.close()
    assert len(await _tables(database, "interactions_201%")) == 7


async def test_the_commit_log_has_partitions_for_today_and_tomorrow(
    services: Services, database: Database, make: Make
) -> None:
    before = datetime.now(UTC)
    assert await statuses(services, make()) == ["stored"]
    wanted = {
        f"commits_{moment + timedelta(days=n):%Y_%m_%d}" for moment in (before, datetime.now(UTC)) for n in (0, 1)
    }
    assert set(await _tables(database, "commits_%")) <= wanted
    assert len(await _tables(database, "commits_%")) >= 2


async def test_partitions_dropped_behind_a_process_are_made_again(
    services: Services, database: Database, make: Make
) -> None:
    item = make()
    assert await statuses(services, item) == ["stored"]
    for also in ([], [item]):  # alone by the quick way, beside a duplicate by the careful one
        for table in [*await _tables(database, "commits_%"), "interactions_2026_03"]:
            await database.execute(f"DROP TABLE {table}")
        told = await statuses(services, *also, make(), make())
        assert told == ["duplicate"] * len(also) + ["stored"] * 2
    assert await statuses(services, make()) == ["stored"]
    assert await count(database, "interactions") == 3
    assert await count(database, "rejected_interactions") == 0


async def test_a_partition_is_indexed_as_its_table_is(services: Services, database: Database, make: Make) -> None:
    await statuses(services, make())
    indexes = await database.fetch(
        "SELECT count(*) FILTER (WHERE tablename = 'interactions') AS whole, "
        "count(*) FILTER (WHERE tablename = 'interactions_2026_03') AS part FROM pg_indexes"
    )
    assert indexes[0]["whole"] == indexes[0]["part"] == 3
    assert await database.fetchval("SELECT bool_and(indisvalid) FROM pg_index")
