"""Each group of routes has its budget: none takes what another needs, and under pressure the least important waits."""

import asyncio
import json
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

import asyncpg
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from prometheus_client import REGISTRY
from pydantic import ValidationError

from exchanges import NDJSON, check_problem, journey_of, store
from percorso.app import create_app
from percorso.http import budgets
from percorso.http.budgets import ALWAYS, GROUPS, Budgets, every_route
from percorso.http.pressure import Pressure
from percorso.http.services import analysis
from percorso.settings import RouteGroup
from support import Make, ndjson, running, settings_for
from writing import Database, queued, stopped, until

ANNA = journey_of("email:anna@example.com")
LAG = 0.5


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"percorso_{name}", labels) or 0


def budgets_of(**given: Any) -> Budgets:
    settings = settings_for("postgresql://nobody@127.0.0.1:1/none", **given)
    return Budgets(create_app(settings), settings, Pressure(settings.shed_lag_seconds))


def test_every_route_has_one_group() -> None:
    app = create_app(settings_for("postgresql://nobody@127.0.0.1:1/none"))
    grouped = list(chain.from_iterable(GROUPS.values()))
    assert len(grouped) == len(set(grouped))
    names = {route.name for route in every_route(app.routes)}
    assert names == {*grouped, *ALWAYS}, "give each new route a group in percorso.http.budgets.GROUPS"


def test_what_works_in_a_place_of_analytics_is_analytics() -> None:
    app = create_app(settings_for("postgresql://nobody@127.0.0.1:1/none"))

    def analyses(dependant: Dependant) -> bool:
        return dependant.call is analysis or any(map(analyses, dependant.dependencies))

    routes = [route for route in every_route(app.routes) if isinstance(route, APIRoute)]
    assert {route.name for route in routes if analyses(route.dependant)} == GROUPS["analytics"]


def test_the_group_of_a_path_is_that_of_its_route() -> None:
    found = budgets_of()
    for method, path, group in (
        ("POST", "/v1/interactions", "ingest"),
        ("POST", "/v1/interactions/batch", "ingest"),
        ("POST", "/segment/v1/track", "ingest"),
        ("GET", "/v1/interactions/x", "reads"),
        ("GET", ANNA, "reads"),
        ("GET", "/v1/customers/org/with/slashes/export", "exports"),
        ("GET", "/v1/customers/org/with\nlines", "reads"),
        ("DELETE", "/v1/customers/email:anna@example.com", "administration"),
        ("GET", "/v1/touchpoints/shop/stats", "analytics"),
        ("GET", "/v1/touchpoints/shop", "reads"),
        ("GET", "/v1/analytics/funnel", "analytics"),
        ("DELETE", "/v1/keys/x", "administration"),
        ("GET", "/health/live", None),
        ("PUT", "/v1/interactions", None),
        ("GET", "/nowhere", None),
        ("BREW", "/v1/interactions/x", None),
    ):
        assert found.group_of({"method": method, "path": path}) == group, path


def test_shares_that_leave_nothing_to_ingest_are_refused() -> None:
    settings = settings_for("postgresql://x/y", group_shares={"reads": 0.4})
    assert settings.group_shares["reads"] == 0.4
    assert settings.group_shares["analytics"] == 0.1
    for shares in ({"reads": 0.9}, {"reads": 0}, {"exports": 1.5}, {"everything": 0.5}):
        with pytest.raises(ValidationError):
            settings_for("postgresql://x/y", group_shares=shares)


async def test_reads_that_wait_take_nothing_from_ingest_and_administration(
    database_url: str, database: Database, make: Make
) -> None:
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with running(database_url, max_concurrent_requests=12, key_cache_seconds=1) as (_, client):
        await store(client, make())
        before = sample("http_shed_total", group="reads")
        holder = await asyncpg.connect(database_url)
        await holder.execute("BEGIN; LOCK TABLE segments IN ACCESS EXCLUSIVE MODE")
        reads = [asyncio.create_task(client.get("/v1/segments")) for _ in range(30)]
        try:

            async def all_wait() -> bool:
                return int(await database.fetchval(blocked)) == 6

            await until(all_wait)
            refused = [await each for each in reads if each.done()]
            assert len(refused) == 24
            for answer in refused:
                check_problem(answer, 503, "unavailable")
            # Longer than what is known of a key is remembered.
            for _ in range(15):
                await store(client, make())
                assert (await client.get("/v1/keys")).status_code == 200
                assert (await client.get("/health/ready")).status_code == 200
                await asyncio.sleep(0.1)
        finally:
            await holder.close()
        answers = await asyncio.gather(*reads)
        assert [answer.status_code for answer in answers].count(200) == 6
        assert sample("http_shed_total", group="reads") - before == 24
        assert (await client.get(ANNA)).status_code == 200


async def test_keys_are_known_while_reads_take_every_connection(
    database_url: str, database: Database, make: Make
) -> None:
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with running(database_url, pool_size=2, key_cache_seconds=1) as (_, client):
        made = await client.post("/v1/keys", json={"name": "new", "scopes": ["ingest"]})
        new = {"Authorization": f"Bearer {made.json()['key']}"}
        holder = await asyncpg.connect(database_url)
        await holder.execute("BEGIN; LOCK TABLE segments IN ACCESS EXCLUSIVE MODE")
        reads = [asyncio.create_task(client.get("/v1/segments")) for _ in range(5)]
        try:

            async def all_wait() -> bool:
                return int(await database.fetchval(blocked)) == 2

            await until(all_wait)
            assert (await client.post("/v1/interactions", json=make(), headers=new)).status_code == 201
            assert not any(each.done() for each in reads)
        finally:
            await holder.close()
        await asyncio.gather(*reads)


async def test_a_key_can_be_revoked_in_the_midst_of_its_flood(database_url: str, make: Make) -> None:
    async with running(database_url, max_concurrent_requests=10) as (_, client):
        made = (await client.post("/v1/keys", json={"name": "flood", "scopes": ["ingest"]})).json()
        flood = {"Authorization": f"Bearer {made['key']}"}
        async with stopped(database_url):
            sent = [asyncio.create_task(client.post("/v1/interactions", json=make(), headers=flood)) for _ in range(10)]
            await until(lambda: queued() == 10)
            check_problem(await client.post("/v1/interactions", json=make(), headers=flood), 503, "unavailable")
            assert (await client.delete(f"/v1/keys/{made['id']}")).status_code == 204
        await asyncio.gather(*sent)
        check_problem(await client.post("/v1/interactions", json=make(), headers=flood), 401, "unauthorized")


async def test_bodies_that_are_held_are_bounded_in_bytes(database_url: str, make: Make) -> None:
    one, other = (json.dumps([make(id=sender_id, text="x" * 20_000)]).encode() for sender_id in ("1", "2"))
    async with running(database_url, max_body_bytes=100_000) as (_, client):
        await store(client, make())
        async with stopped(database_url):
            # Of an array its items are copies: it counts twice.
            sent = [asyncio.create_task(client.post("/v1/interactions/batch", content=each)) for each in (one, other)]
            await until(lambda: queued() == 2)
            for path, headers in (("batch", {}), ("batch", NDJSON)):
                answer = await client.post(f"/v1/interactions/{path}", content=one, headers=headers)
                check_problem(answer, 503, "unavailable")
                assert answer.headers["retry-after"] == "2"
            assert (await client.get(ANNA)).status_code == 200
            await until(lambda: sample("http_body_bytes") == 2 * (len(one) + len(other)))
        assert [(await each).json()["stored"] for each in sent] == [1, 1]
        await until(lambda: sample("http_body_bytes") == 0)
        assert (await client.post("/v1/interactions/batch", content=one)).status_code == 200


async def test_one_body_alone_is_taken_whatever_the_bound_of_all(database_url: str, make: Make) -> None:
    async with running(database_url, max_body_bytes=1) as (_, client):
        await store(client, make())
        lines = ndjson(*(make() for _ in range(100)))
        assert (await client.post("/v1/interactions/batch", content=lines, headers=NDJSON)).json()["stored"] == 100


def test_what_was_held_is_given_back_at_the_end_whatever_became_of_it() -> None:
    found = budgets_of(max_body_bytes=10)
    scopes = [{"type": "http"} for _ in range(3)]
    for scope in scopes:
        found.enter(scope, "ingest")
    budgets.hold(scopes[0], 6)
    with pytest.raises(Exception, match="bodies of other requests"):
        budgets.hold(scopes[1], 5)
    budgets.hold(scopes[1], 4)
    budgets.hold({"type": "http"}, 99)
    assert found.held == 10
    for scope in scopes:
        found.end(scope, "ingest")
    assert found.held == 0


def test_who_waits_aside_leaves_the_place_to_others() -> None:
    found = budgets_of(max_concurrent_requests=1)
    scope = {"type": "http"}
    found.enter(scope, "ingest")
    assert found.why_not("ingest") == "full"
    with budgets.aside(scope):
        assert found.why_not("ingest") is None
    assert found.why_not("reads") == "full"


def test_the_least_important_is_refused_first_and_ingest_never_for_pressure() -> None:
    pressure = Pressure(LAG)
    groups: tuple[RouteGroup, ...] = ("exports", "analytics", "reads", "administration", "ingest")
    seen = []
    for lag in (0, 0.6, 1.1):
        for _ in range(10):
            pressure.note(lag=lag, fill=0)
        seen.append([group for group in groups if pressure.sheds(group)])
    assert seen == [[], ["exports", "analytics"], ["exports", "analytics", "reads"]]


@pytest.mark.parametrize(
    ("fills", "levels"),
    [
        ([1, 1, 1], [0, 0, 2]),
        ([0.6, 0.7, 0.6], [0, 0, 1]),
        ([1, 0, 1, 0, 1, 0], [0] * 6),
        ([1, 1, 1, 0, 0, 1, 0, 0], [0, 0, 2, 2, 2, 2, 2, 2]),
        ([1, 1, 1, *[0.7] * 10, *[0] * 10], [0, 0, *[2] * 10, *[1] * 10, 0]),
    ],
)
def test_what_is_refused_does_not_flap(fills: list[float], levels: list[int]) -> None:
    pressure = Pressure(LAG)
    seen = []
    for fill in fills:
        pressure.note(lag=0, fill=fill)
        seen.append(pressure.level)
    assert seen == levels


async def test_a_full_queue_refuses_reads_and_analytics_until_there_is_room(database_url: str, make: Make) -> None:
    async with running(database_url, queue_rows=10) as (_, client), AsyncExitStack() as stack:
        await store(client, make())
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        async with stopped(database_url):
            sent = [tasks.create_task(client.post("/v1/interactions", json=make())) for _ in range(10)]
            await until(lambda: sample("pressure_level") == 2)
            for path in (ANNA, "/v1/analytics/channels", f"{ANNA.removesuffix('/journey')}/export"):
                answer = await client.get(path)
                check_problem(answer, 503, "unavailable")
                assert answer.headers["retry-after"] == "5"
            assert (await client.get("/v1/keys")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
        assert [(await each).status_code for each in sent] == [201] * 10
        await until(lambda: sample("pressure_level") == 0)
        assert (await client.get(ANNA)).status_code == 200


async def test_a_late_event_loop_refuses_reads_and_still_takes_interactions(database_url: str, make: Make) -> None:
    async with running(database_url, shed_lag_seconds=1e-9) as (_, late):
        await store(late, make())

        async def refused() -> bool:
            return (await late.get(ANNA)).status_code == 503

        await until(refused)
        check_problem(await late.get(ANNA), 503, "unavailable")
        await store(late, make())
