"""Analytics have connections and threads of their own: they end in time, and take nothing from anyone else."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from exchanges import check_problem, ids_at, journey_of, store
from percorso.analytics.deadline import Deadline
from percorso.errors import TooMuch
from percorso.http.analysing import Places
from percorso.http.services import Analysing, Analytics, Within
from support import Make, running, settings_for
from writing import Database, until

ANNA = journey_of("email:anna@example.com")
BUSY = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'percorso-analytics' AND datname = current_database()
"""


async def sleep(session: Analytics) -> dict[str, Any]:
    await session.execute("SELECT pg_sleep(60)")
    return {}


async def read_locked(session: Analytics) -> dict[str, Any]:
    return {"rows": await session.fetchval("SELECT count(*) FROM segments")}


async def compute(analysing: Analysing, within: Within) -> dict[str, Any]:
    def endless() -> None:
        while True:
            within.check()

    await analysing.run(endless)
    return {}


async def invalid(session: Analytics, number: int) -> dict[str, Any]:
    return {"number": number, "is": await session.fetchval("SELECT 1")}


def with_routes(app: FastAPI) -> None:
    """Some analytics that take as long as is wanted here."""
    for route in (sleep, read_locked, compute, invalid):
        app.add_api_route(f"/test/{route.__name__}", route)


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    async with running(database_url, analytics_timeout=1, pool_size=2) as (app, client):
        with_routes(app)
        yield app, client


async def busy(database: Database, most: int) -> None:
    """Wait until so many connections are of analytics."""

    async def there() -> bool:
        return bool(await database.fetchval(BUSY) >= most)

    await until(there)


async def test_ingest_and_journeys_go_on_while_all_connections_of_analytics_are_busy(
    database_url: str, database: Database, make: Make
) -> None:
    async with running(database_url, analytics_timeout=30, pool_size=1, max_concurrent_requests=100) as (app, client):
        with_routes(app)
        await store(client, make(id="before", touchpoint="shop"))
        holder = await asyncpg.connect(database_url)
        await holder.execute("BEGIN; LOCK TABLE segments IN ACCESS EXCLUSIVE MODE")
        # Many times as many as have a place, or may wait for one.
        calls = [asyncio.create_task(client.get("/test/read_locked")) for _ in range(150)]
        try:
            await busy(database, 2)
            refused = {call for call in calls if call.done()}
            for number in range(20):
                await store(client, make(id=f"{number}", touchpoint="shop"))
                assert (await ids_at(client, ANNA))[0] == f"{number}"
            assert await database.fetchval(BUSY) == 2
            assert all(not call.done() for call in calls if call not in refused)
        finally:
            await holder.close()
        answers = await asyncio.gather(*calls)
        for call in refused:
            check_problem(call.result(), 503, "analytics_timeout")
        assert sum(answer.status_code == 200 for answer in answers) == 2 + 16
        assert await healthy_again(app)


async def test_ingest_and_journeys_go_on_while_all_threads_of_analytics_compute(database_url: str, make: Make) -> None:
    async with running(database_url, analytics_timeout=4) as (app, client):
        with_routes(app)
        await store(client, make())
        calls = [asyncio.create_task(client.get("/test/compute")) for _ in range(2)]
        await until(lambda: sum(each.name.startswith("percorso-analytics") for each in threading.enumerate()) == 2)
        for number in range(3):
            await store(client, make(id=f"{number}"))
            assert (await ids_at(client, ANNA))[0] == f"{number}"
        assert not any(call.done() for call in calls)
        for call in calls:
            check_problem(await call, 503, "analytics_timeout")
        assert await healthy_again(app)


async def healthy_again(app: FastAPI) -> bool:
    """Whether every place is free."""
    places: Places = app.state.services.analytics
    async with places.call() as one, places.call() as other:
        return [await each.session.fetchval("SELECT 1") for each in (one, other)] == [1, 1]


@pytest.mark.parametrize("path", ["/test/sleep", "/test/compute"])
async def test_analytics_that_take_too_long_are_given_up_with_a_word_on_what_to_do(
    service: tuple[FastAPI, httpx.AsyncClient], path: str
) -> None:
    app, client = service
    async with asyncio.timeout(20):
        answer = await client.get(path)
    document = check_problem(answer, 503, "analytics_timeout")
    assert "narrow the range" in document["detail"]
    assert int(answer.headers["retry-after"]) > 0
    assert await healthy_again(app)


async def test_the_wait_for_a_place_counts_and_ends_in_time(service: tuple[FastAPI, httpx.AsyncClient]) -> None:
    app, client = service
    places: Places = app.state.services.analytics
    async with places.call() as one, places.call() as other:
        for each in (one, other):
            assert await each.session.fetchval("SELECT 1") == 1
        async with asyncio.timeout(20):
            document = check_problem(await client.get("/test/sleep"), 503, "analytics_timeout")
        assert "Other analytics" in document["detail"]
    assert await healthy_again(app)


async def test_a_statement_that_is_cancelled_is_one_that_took_too_long(database_url: str, database: Database) -> None:
    async with running(database_url) as (app, client):
        with_routes(app)
        call = asyncio.create_task(client.get("/test/sleep"))

        async def cancelled() -> bool:
            return bool(
                await database.fetchval(
                    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE state = 'active' "
                    "AND application_name = 'percorso-analytics' AND query LIKE '%pg_sleep%' "
                    "AND datname = current_database()"
                )
            )

        await until(cancelled)
        check_problem(await call, 503, "analytics_timeout")


async def test_a_request_that_cannot_be_taken_needs_no_connection(
    service: tuple[FastAPI, httpx.AsyncClient], database: Database
) -> None:
    _, client = service
    assert (await client.get("/test/invalid?number=x")).status_code == 422
    assert await database.fetchval(BUSY) == 0
    assert (await client.get("/test/invalid?number=1")).json() == {"number": 1, "is": 1}
    assert await database.fetchval(BUSY) == 1


async def test_what_is_computed_after_its_caller_was_answered_keeps_its_place(database_url: str) -> None:
    settings = settings_for(database_url, analytics_timeout=1, analytics_connections=1)
    places = Places(database_url, settings)
    gate = threading.Event()
    try:
        with pytest.raises(TooMuch, match="narrow"):
            async with places.call() as call:
                await call.run(gate.wait)
        with pytest.raises(TooMuch, match="Other analytics"):
            async with places.call() as call:
                await call.session.fetchval("SELECT 1")
        gate.set()
        async with places.call() as call:
            assert await call.run(divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await call.run(divmod, 7, 0)
    finally:
        gate.set()
        await places.close()


async def test_a_transaction_of_analytics_sees_one_state_and_is_gone_through_row_by_row(
    database_url: str, database: Database
) -> None:
    places = Places(database_url, settings_for(database_url))
    put = "INSERT INTO touchpoints (slug, discovered) SELECT 't-' || n, true FROM generate_series({}, {}) AS n"
    try:
        await database.execute(put.format(1, 20))
        async with places.call() as call, call.session.transaction(isolation="repeatable_read", readonly=True):
            assert await call.session.fetchval("SELECT count(*) FROM touchpoints") == 20
            await database.execute(put.format(21, 30))
            rows = [row["slug"] async for row in call.session.cursor("SELECT slug FROM touchpoints", prefetch=3)]
            assert sorted(rows) == sorted(f"t-{number}" for number in range(1, 21))
            counted = await call.session.fetchrow("SELECT count(*) AS n FROM touchpoints")
            assert counted is not None
            assert counted["n"] == 20
        async with places.call() as call:
            assert len(await call.session.fetch("SELECT slug FROM touchpoints")) == 30
    finally:
        await places.close()


def test_a_deadline_is_missed_once_its_time_is_up() -> None:
    deadline = Deadline(1000)
    deadline.check()
    assert 990 < deadline.left() <= 1000
    deadline.end()
    assert deadline.left() == 0
    with pytest.raises(TooMuch, match="within 1000 s"):
        deadline.check()
