"""The proxy keeps what it says: where a fault strikes decides what is committed, and what its client hears of it."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import asyncpg
import pytest

from faults.clusters import Cluster, Database, free_port
from faults.proxy import ACTIONS, Action, Fault, Point, Proxy
from writing import until

Write = Callable[[Database, int], Awaitable[object]]

_UNHEARD = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


async def _copy(database: Database, number: int) -> object:
    async with database.transaction():
        return await database.copy_records_to_table("kept", records=[(number,)])


async def _copy_alone(database: Database, number: int) -> object:
    return await database.copy_records_to_table("kept", records=[(number,)])


async def _insert(database: Database, number: int) -> object:
    return await database.execute("INSERT INTO kept VALUES ($1)", number)


async def _select(database: Database, number: int) -> object:
    return await database.fetch("WITH new AS (INSERT INTO kept VALUES ($1) RETURNING 1) SELECT 1 FROM new", number)


async def _simple(database: Database, number: int) -> object:
    return await database.execute(f"INSERT INTO kept VALUES ({number})")  # noqa: S608 - a number


async def _heard(proxy: Proxy, write: Write, number: int) -> bool:
    """Write through the proxy, as the writer; whether that was heard to be done."""
    database = None
    try:
        database = await asyncpg.connect(proxy.url, timeout=1, server_settings={"application_name": "percorso-writer"})
        async with asyncio.timeout(0.5):
            await write(database, number)
    except _UNHEARD:
        return False
    else:
        return True
    finally:
        if database is not None:
            database.terminate()


@pytest.fixture
async def kept(cluster: Cluster) -> Cluster:
    """A server with a table for what is written."""
    await cluster.execute("CREATE TABLE kept (number int)", "GRANT ALL ON kept TO percorso")
    return cluster


@pytest.mark.parametrize("write", [_copy, _copy_alone, _insert, _select, _simple])
async def test_each_fault_strikes_at_its_point(kept: Cluster, write: Write) -> None:
    committed = 0

    async def is_committed() -> bool:
        return bool(await kept.value("SELECT count(*) FROM kept") == committed)

    async def strike(action: Action, point: Point, number: int) -> bool:
        nonlocal committed
        proxy.arm(Fault(action, point))
        heard = await _heard(proxy, write, number)
        assert proxy.struck.is_set()
        # What did not reach the server is not committed; what a stall held up arrives when it is over.
        reaches_it = point == "after" or action == "mute"
        committed += reaches_it
        await until(is_committed)
        proxy.heal()
        committed += action == "stall" and not reaches_it
        await until(is_committed)
        return heard

    async with Proxy(kept.url) as proxy:
        assert await _heard(proxy, write, 0)
        committed = 1
        for number, action in enumerate(ACTIONS):
            assert not await strike(action, "before", 2 * number + 1)
            # A server that hears no more has said before that it is done.
            assert await strike(action, "after", 2 * number + 2) == (action == "deaf")


async def test_a_connection_is_cut_before_its_client_hears_that_it_is_ready(kept: Cluster) -> None:
    async with Proxy(kept.url) as proxy:
        for action in ACTIONS:
            proxy.arm(Fault(action, "startup"))
            assert not await _heard(proxy, _insert, 1)
            assert proxy.struck.is_set()
            proxy.heal()
    assert await kept.value("SELECT count(*) FROM kept") == 0


async def test_what_is_slow_arrives_later_and_another_server_is_another(kept: Cluster) -> None:
    nobody = kept.url.replace(str(kept.port), str(free_port()))
    async with Proxy(nobody) as proxy:
        assert not await _heard(proxy, _insert, 1)
        proxy.retarget(kept.url)
        proxy.latency = 0.02
        proxy.bandwidth = 100_000
        begun = monotonic()
        assert await _heard(proxy, _insert, 1)
        # Start-up, preparing and executing go there and back once each.
        assert monotonic() - begun > 6 * proxy.latency
