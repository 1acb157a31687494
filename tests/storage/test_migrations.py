"""Migrations lead from nothing to the schema that the code knows, and back."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from itertools import pairwise

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.errors import StartupError
from percorso.storage import schema
from percorso.storage.database import create_engine
from support import Make, database_of, settings_for
from writing import processes, statuses, until


@pytest.fixture
async def empty(server_url: str) -> AsyncIterator[str]:
    """A database without any schema."""
    name = f"percorso_empty_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"CREATE DATABASE {name}")
    yield database_of(server_url, name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def engine(empty: str) -> AsyncIterator[AsyncEngine]:
    """Of that database; one connection must be enough."""
    made = create_engine(empty, settings_for(empty, pool_size=1))
    yield made
    await made.dispose()


async def _check(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.run_sync(lambda sync: command.check(schema.alembic_config(sync)))


async def test_migrations_lead_to_the_schema_that_the_code_knows(engine: AsyncEngine, empty: str, make: Make) -> None:
    with pytest.raises(StartupError, match="has no percorso schema"):
        await schema.require(engine)
    await schema.upgrade(engine)
    await schema.require(engine)
    assert await schema.current(engine) == schema.newest()
    await _check(engine)
    await schema.upgrade(engine)
    async with processes(empty, 1) as [this]:
        assert await statuses(this, make()) == ["stored"]
    await _check(engine)


async def test_a_database_that_a_later_release_migrated_is_served_and_left_as_it_is(
    engine: AsyncEngine, empty: str, make: Make
) -> None:
    await schema.upgrade(engine)
    database = await asyncpg.connect(empty)
    await database.execute("UPDATE alembic_version SET version_num = '29991231_2359'")
    await schema.require(engine)
    await schema.upgrade(engine)
    assert await schema.current(engine) == "29991231_2359"
    async with processes(empty, 1) as [this]:
        assert await statuses(this, make()) == ["stored"]
    for stale in ("20261122_1100", "older"):
        await database.execute("UPDATE alembic_version SET version_num = $1", stale)
        with pytest.raises(StartupError, match=f"is at schema {stale}"):
            await schema.require(engine)
    await database.close()


async def test_every_version_is_named_so_that_the_later_one_can_be_told() -> None:
    versions = [script.revision for script in ScriptDirectory.from_config(schema.alembic_config()).walk_revisions()]
    assert len(versions) > 5
    for later, earlier in pairwise(versions):
        assert schema.is_later(later, earlier)
        assert not schema.is_later(earlier, later)


async def test_upgrades_at_once_come_one_after_the_other(engine: AsyncEngine, empty: str) -> None:
    other = create_engine(empty, settings_for(empty, pool_size=1))
    await asyncio.gather(schema.upgrade(engine), schema.upgrade(other), schema.upgrade(other))
    await other.dispose()
    assert await schema.current(engine) == schema.newest()
    await _check(engine)


async def test_one_who_waits_to_migrate_holds_no_snapshot(engine: AsyncEngine, empty: str) -> None:
    holder = await asyncpg.connect(empty)
    await holder.execute("CREATE TABLE large (a int)")
    await holder.execute("SELECT pg_advisory_lock($1)".replace("$1", str(0x70657263_6D696772)))
    waiting = asyncio.create_task(schema.upgrade(engine))
    asked = (
        "SELECT true FROM pg_stat_activity WHERE query LIKE 'SELECT%advisory_lock%' AND application_name = 'percorso'"
    )
    await until(lambda: holder.fetchval(asked))
    # This waits for every older snapshot, so it ends only if the one who waits has none.
    for number in range(3):
        await holder.execute(f"CREATE INDEX CONCURRENTLY large_{number} ON large (a)", timeout=10)
    assert not waiting.done()
    await holder.close()
    await waiting
    assert await schema.current(engine) == schema.newest()


async def test_a_migrated_database_can_be_emptied_and_migrated_again(
    engine: AsyncEngine, empty: str, make: Make
) -> None:
    await schema.upgrade(engine)
    async with processes(empty, 1) as [this]:
        assert await statuses(this, make(), {"broken": 1}) == ["stored", "rejected"]
    async with engine.connect() as connection:
        await connection.run_sync(lambda sync: command.downgrade(schema.alembic_config(sync), "base"))
        await connection.commit()
    assert await schema.current(engine) is None
    database = await asyncpg.connect(empty)
    left = await database.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'"
    )
    await database.close()
    assert [record["relname"] for record in left] == ["alembic_version"]
    await schema.upgrade(engine)
    await _check(engine)


async def test_an_index_whose_making_was_stopped_is_made_anew(engine: AsyncEngine, empty: str) -> None:
    async with engine.connect() as connection:
        before = "20261125_0320"
        await connection.run_sync(lambda sync: command.upgrade(schema.alembic_config(sync), before))
        await connection.commit()
    database = await asyncpg.connect(empty)
    await database.execute(
        "INSERT INTO identities SELECT gen_random_uuid(), 'k', 'v', false, gen_random_uuid(), now() "
        "FROM generate_series(1, 2)"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        # Like one that was stopped, it is left there, and invalid.
        await database.execute("CREATE UNIQUE INDEX CONCURRENTLY identities_kind_value_idx ON identities (kind, value)")
    await schema.upgrade(engine)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'identities_kind_value_idx'::regclass"
    assert await database.fetchval(valid)
    await database.close()
    await _check(engine)


async def test_where_there_are_profiles_already_all_are_gone_through_once_more_for_outcomes(
    engine: AsyncEngine, empty: str
) -> None:
    await schema.upgrade(engine)
    database = await asyncpg.connect(empty)
    await database.execute("INSERT INTO followers VALUES ('profiles', 3, '17', NULL), ('other', 3, '17', NULL)")
    async with engine.connect() as connection:
        for command_, to in ((command.downgrade, "20261126_0410-1"), (command.upgrade, "head")):
            await connection.run_sync(lambda sync: command_(schema.alembic_config(sync), to))  # noqa: B023 - it is run at once
        await connection.commit()
    found = await database.fetch("SELECT name, generation, xid8::text, filled_to FROM followers ORDER BY name")
    assert [tuple(row) for row in found] == [("other", 3, "17", None), ("profiles", 3, "17", ids.LOWEST)]
    await database.close()


async def test_migrations_can_be_had_as_sql(empty: str, engine: AsyncEngine) -> None:
    sql = await asyncio.to_thread(schema.as_sql)
    assert "CREATE TABLE interactions" in sql
    database = await asyncpg.connect(empty)
    # One by one, as psql does: what is made concurrently stands in no transaction.
    for statement in filter(str.strip, sql.split(";\n")):
        await database.execute(statement)
    await database.close()
    await schema.require(engine)
    await _check(engine)
