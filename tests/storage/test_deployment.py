"""A deployment keeps its salt for ever, and counts the clusters it has lived on."""

import asyncio

import asyncpg
import pytest

from percorso.http.services import Services
from percorso.storage import deployment
from percorso.storage.database import WriteSession, create_engine, reading, writing
from support import settings_for
from writing import Database, count


async def _ensure(url: str) -> deployment.Deployment:
    session = await asyncpg.connect(url)
    try:
        return await deployment.ensure(WriteSession(session))
    finally:
        await session.close()


async def test_processes_that_start_together_agree_on_one_deployment(database_url: str, database: Database) -> None:
    found = await asyncio.gather(*(_ensure(database_url) for _ in range(5)))
    assert len(set(found)) == 1
    assert found[0].generation == 1
    assert len(found[0].salt) == 32
    assert await count(database, "deployment") == 1


async def test_a_database_on_another_cluster_is_of_the_next_generation_with_the_same_salt(
    database_url: str, database: Database
) -> None:
    first = await _ensure(database_url)
    assert await _ensure(database_url) == first
    await database.execute("UPDATE deployment SET system_identifier = 'elsewhere'")
    moved = await asyncio.gather(*(_ensure(database_url) for _ in range(5)))
    assert set(moved) == {deployment.Deployment(first.salt, 2)}
    assert await _ensure(database_url) == moved[0]


async def test_there_can_be_one_deployment_only(services: Services, database: Database) -> None:
    assert services.deployment.generation == 1
    for one in (True, False):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await database.execute("INSERT INTO deployment VALUES ($1, 'x', 1, 'x')", one)


async def test_connections_lost_while_nobody_used_them_are_replaced(database_url: str, database: Database) -> None:
    engine = create_engine(database_url, settings_for(database_url, pool_size=2))
    try:
        for use in (writing, reading):
            async with use(engine), use(engine):
                pass
            kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'percorso'"
            assert len(await database.fetch(kill + " AND datname = current_database()")) == 2
            async with use(engine), use(engine):
                pass
            async with writing(engine) as session:
                assert await session.fetchval("SELECT 1") == 1
    finally:
        await engine.dispose()


async def test_a_url_may_say_what_only_the_driver_understands(database_url: str) -> None:
    spelt = f"{database_url}{'&' if '?' in database_url else '?'}sslmode=disable"
    engine = create_engine(spelt, settings_for(database_url))
    try:
        async with writing(engine) as session:
            assert await session.fetchval("SHOW transaction_isolation") == "read committed"
            assert await session.fetchval("SHOW statement_timeout") == "30s"
    finally:
        await engine.dispose()
