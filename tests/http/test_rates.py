"""How much a key may send: shared by all processes, told in headers, refused in each format's own words."""

import asyncio
import json
import re
from collections import Counter
from typing import Any

import asyncpg
import httpx
import pytest
from asyncpg.pgproto.pgproto import UUID
from fastapi import Request

from exchanges import NDJSON, Item, check_problem, items_at, pointers, store
from percorso.errors import TooManyRequests
from percorso.http.callers import Caller
from percorso.http.rates import Policy, Rates
from percorso.storage import database as connections
from percorso.storage import rates as storage
from percorso.storage.database import WriteSession
from support import Make, ndjson, running, settings_for
from writing import Database, count, until

NEVER = 0.000_1
"""A rate at which a test is over before anything is added."""
SEGMENT = "/segment/v1"
TMF = "/tmf-api/partyInteraction/v4/partyInteraction"
ITEM = r'"key"(;[a-z]+=(0|[1-9][0-9]*))+'
"""A string with parameters that are integers, of a list of structured fields (RFC 9651)."""


async def new_key(client: httpx.AsyncClient, *scopes: str, **limit: Any) -> dict[str, str]:
    """The header of a new key with this limit."""
    answer = await client.post("/v1/keys", json={"name": "limited", "scopes": scopes or ["admin"], **limit})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['key']}"}


def told(answer: httpx.Response) -> dict[str, int]:
    """The parameters of both headers."""
    fields = [answer.headers["ratelimit-policy"], answer.headers["ratelimit"]]
    assert all(re.fullmatch(ITEM, each) for each in fields), fields
    pairs = (part.split("=") for each in fields for part in each.split(";")[1:])
    return {name: int(value) for name, value in pairs}


async def flood(*clients: httpx.AsyncClient, times: int, headers: dict[str, str]) -> Counter[int]:
    """How often each status was answered to so many requests of each client at once."""
    answers = await asyncio.gather(
        *(client.get("/v1/segments", headers=headers) for client in clients for _ in range(times))
    )
    return Counter(answer.status_code for answer in answers)


async def test_two_processes_share_what_a_key_may_send(database_url: str, database: Database) -> None:
    policy = Policy(NEVER, 40)
    async with running(database_url) as (_, one), running(database_url) as (_, other):
        limited = await new_key(one, "read", rate=policy.rate, burst=policy.burst)
        got = await flood(one, other, times=60, headers=limited)
        assert set(got) == {200, 429}
        # What was taken from the database and not used yet lies in the slices.
        assert policy.burst - 2 * policy.slice <= got[200] <= policy.burst
        assert await database.fetchval("SELECT tokens FROM key_rates") < 1


async def test_what_lies_in_slices_goes_beyond_the_burst_by_a_slice_a_process_at_most(
    database_url: str, database: Database
) -> None:
    policy = Policy(NEVER, 40)
    assert policy.slice == 2
    async with running(database_url) as (_, one), running(database_url) as (_, other):
        limited = await new_key(one, "read", rate=policy.rate, burst=policy.burst)
        for client in (one, other):
            assert await flood(client, times=1, headers=limited) == {200: 1}

        async def asleep() -> bool:
            return not await database.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
                "AND application_name = 'percorso-rates' AND datname = current_database()"
            )

        await until(asleep)
        await database.execute("UPDATE key_rates SET tokens = $1", float(policy.burst))
        got = await flood(one, other, times=60, headers=limited)
        assert policy.burst <= got[200] <= policy.burst + 2 * policy.slice


async def test_a_bucket_fills_at_its_rate_up_to_its_burst(database: Database) -> None:
    session, key_id = WriteSession(database), UUID(bytes(16))

    async def take(need: int, more: int = 0) -> storage.Lease:
        return await storage.lease(session, key_id, rate=2, burst=10, need=need, more=more)

    async def later(seconds: float) -> None:
        await database.execute("UPDATE key_rates SET at = at - make_interval(secs => $1)", seconds)

    # One transaction is one moment.
    async with database.transaction():
        assert await take(1, 3) == storage.Lease(4, 6)
        assert await take(2, 100) == storage.Lease(6, 0)
        assert await take(1) == storage.Lease(0, 0)
        await later(0.25)
        assert await take(1) == storage.Lease(0, 0.5)
        await later(1.5)
        assert await take(1, 5) == storage.Lease(3, 0.5)
        await later(3600)
        # What is not empty gives whatever one needs, and is in debt then.
        assert await take(25, 5) == storage.Lease(25, -15)
        await later(7.5)
        assert await take(1) == storage.Lease(0, 0)
        await later(0.5)
        assert await take(1) == storage.Lease(1, 0)


def test_what_the_database_gives_is_what_a_process_would_give_by_itself() -> None:
    assert [storage.given(there, need=2, more=3) for there in (-1, 0.9, 1, 2.5, 4.2, 99)] == [0, 0, 2, 2, 4, 5]


async def test_headers_tell_what_is_left_and_for_how_long(client: httpx.AsyncClient) -> None:
    assert "ratelimit" not in (await client.get("/v1/segments")).headers
    limited = await new_key(client, "read", rate=0.01, burst=3)
    seen = [await client.get("/v1/segments", headers=limited) for _ in range(4)]
    assert [answer.status_code for answer in seen] == [200, 200, 200, 429]
    assert {(told(answer)["q"], told(answer)["w"]) for answer in seen} == {(3, 300)}
    assert [told(answer)["r"] for answer in seen] == [2, 1, 0, 0]
    assert [99 <= told(answer)["t"] <= 300 for answer in seen] == [True] * 4
    check_problem(seen[-1], 429, "too_many_requests")
    assert abs(int(seen[-1].headers["retry-after"]) - told(seen[-1])["t"]) <= 1


def test_a_quota_goes_through_in_its_window_on_and_on() -> None:
    for rate, burst, quota, window in ((100, 10, 100, 1), (100, 1000, 1000, 10), (0.5, 1, 1, 2), (3, None, 30, 10)):
        policy = Policy.of(rate, burst)
        assert policy is not None
        assert (policy.quota, policy.window) == (quota, window)
        assert 1 <= policy.slice <= policy.burst
    assert Policy.of(None, 5) is None


async def test_each_format_refuses_in_its_own_words_and_takes_nothing(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": make()}
    call = {"type": "track", "event": "e", "userId": "anna", "messageId": "m"}
    cloud = {"Content-Type": "application/cloudevents+json"}
    for path, body, headers in (
        ("/v1/interactions", make(), {}),
        ("/v1/interactions/batch", [make(), make()], {}),
        ("/v1/cloudevents", event, cloud),
        (f"{SEGMENT}/track", call, {}),
        (f"{SEGMENT}/batch", {"batch": [call]}, {}),
        (TMF, {"description": "d"}, {}),
    ):
        limited = await new_key(client, "ingest", "read", rate=NEVER, burst=1)
        assert (await client.get("/v1/segments", headers=limited)).status_code == 200
        answer = await client.post(path, content=json.dumps(body), headers=limited | headers)
        assert answer.status_code == 429, (path, answer.text)
        assert int(answer.headers["retry-after"]) >= 1
        assert told(answer)["r"] == 0
        document = answer.json()
        if path == TMF:
            assert (document["code"], document["status"]) == ("too_many_requests", "429")
        else:
            check_problem(answer, 429, "too_many_requests")
        if path.startswith(SEGMENT):
            assert document["message"] == document["detail"]
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "RateLimit" in answer.headers["access-control-expose-headers"]
    assert await count(database, "interactions") == 0


async def test_a_batch_costs_what_it_holds_and_may_be_larger_than_the_burst(database_url: str, make: Make) -> None:
    batch = [make() for _ in range(30)]
    path = "/v1/interactions/batch"
    async with running(database_url) as (_, client):
        limited = await new_key(client, "ingest", rate=NEVER, burst=10)
        taken = await client.post(path, json=batch, headers=limited)
        assert taken.json()["stored"] == 30
        refused = check_problem(await client.post(path, json=batch[:1], headers=limited), 429, "too_many_requests")
        assert "stored" not in refused
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT tokens FROM key_rates") < 10 - 29
    await connection.execute("UPDATE key_rates SET tokens = 10")
    await connection.close()
    async with running(database_url) as (_, client):
        # Sent again when it may, by a client that had no answer, it is a duplicate.
        assert (await client.post(path, json=batch, headers=limited)).json()["duplicate"] == 30


@pytest.mark.parametrize("path", [f"{SEGMENT}/batch", "/v1/cloudevents"])
async def test_batches_of_other_formats_cost_what_they_hold(
    client: httpx.AsyncClient, database: Database, make: Make, path: str
) -> None:
    if path == "/v1/cloudevents":
        event = {"specversion": "1.0", "source": "s", "type": "com.example.phone.call", "time": "2026-03-01T10:00:00Z"}
        data = {"channel": "phone", "customer": make()["customer"]}
        body: Any = [event | {"id": str(number), "data": data} for number in range(20)]
        headers = {"Content-Type": "application/cloudevents-batch+json"}
    else:
        calls = [{"type": "track", "event": "e", "userId": "anna", "messageId": f"m{n}"} for n in range(20)]
        body, headers = {"batch": calls}, {}
    limited = await new_key(client, "ingest", rate=NEVER, burst=10)
    assert (await client.post(path, content=json.dumps(body), headers=limited | headers)).status_code == 200
    assert await count(database, "interactions") == 20
    assert await database.fetchval("SELECT tokens FROM key_rates") < 10 - 19


async def test_lines_are_taken_as_fast_as_the_key_may_send(client: httpx.AsyncClient, make: Make) -> None:
    limited = await new_key(client, "ingest", rate=2_000, burst=600)
    body = ndjson(*(make() for _ in range(2_100)))
    answer = await client.post("/v1/interactions/batch", content=body, headers=limited | NDJSON)
    assert answer.status_code == 200, answer.text
    assert answer.json()["stored"] == 2_100


async def test_lines_that_would_wait_too_long_are_refused_with_what_was_taken_before(
    client: httpx.AsyncClient, database: Database, make: Make
) -> None:
    limited = await new_key(client, "ingest", rate=NEVER, burst=600)
    body = ndjson(*(make() for _ in range(2_100)))
    answer = await client.post("/v1/interactions/batch", content=body, headers=limited | NDJSON)
    document = check_problem(answer, 429, "too_many_requests")
    assert document["received"] == document["stored"] == await count(database, "interactions")
    assert 600 <= document["stored"] < 2_100


async def test_without_its_database_a_process_goes_on_by_itself() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    settings = settings_for(nowhere)

    async def connect() -> WriteSession:
        return WriteSession(await connections.connect(nowhere, settings, name="percorso-rates"))

    rates = Rates(connect, settings)
    key = Caller("k", frozenset({"read"}), UUID(bytes(16)), rate=NEVER, burst=7)
    request = Request({"type": "http"})
    for _ in range(7):
        await rates.spend(request, key)
    with pytest.raises(TooManyRequests):
        await rates.spend(request, key)
    await rates.close()


async def test_a_lost_connection_costs_no_request(client: httpx.AsyncClient, database: Database) -> None:
    limited = await new_key(client, "read", rate=1_000, burst=1)
    for _ in range(3):
        assert (await client.get("/v1/segments", headers=limited)).status_code in {200, 429}
        await database.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'percorso-rates' AND datname = current_database()"
        )


async def test_keys_without_a_rate_have_that_of_the_settings(database_url: str) -> None:
    async with running(database_url, key_rate=NEVER, key_burst=6) as (_, client):
        more = await new_key(client, "read", rate=NEVER, burst=50)
        assert told(await client.get("/v1/keys"))["q"] == 6
        assert await flood(client, times=30, headers={}) == {200: 4, 429: 26}
        assert await flood(client, times=30, headers=more) == {200: 30}


async def test_the_handshake_of_webhooks_tells_the_usual_rate_in_events_a_minute(database_url: str) -> None:
    for rate, told_as in ((2.5, "150"), (0.001, "1")):
        async with running(database_url, key_rate=rate) as (_, client):
            answer = await client.options("/v1/cloudevents", headers={"WebHook-Request-Origin": "events.example.com"})
            assert answer.headers["webhook-allowed-rate"] == told_as


async def test_health_has_no_limit_and_refused_keys_cost_nothing(database_url: str, database: Database) -> None:
    async with running(database_url, key_rate=NEVER, key_burst=5) as (_, client):
        for _ in range(20):
            assert (await client.get("/health/live")).status_code == 200
            check_problem(
                await client.get("/v1/segments", headers={"Authorization": "Bearer wrong"}), 401, "unauthorized"
            )
        assert await count(database, "key_rates") == 0


async def test_the_list_of_keys_shows_their_rates(client: httpx.AsyncClient) -> None:
    await new_key(client, "read", rate=2.5, burst=50)
    await new_key(client, "read", rate=1)
    shown: list[Item] = await items_at(client, "/v1/keys")
    assert [(key["rate"], key["burst"]) for key in shown] == [(None, None), (2.5, 50), (1, None)]


@pytest.mark.parametrize(
    ("limit", "wrong"),
    [
        ({"burst": 5}, ["/burst"]),
        ({"rate": 0}, ["/rate"]),
        ({"rate": -1}, ["/rate"]),
        ({"rate": "fast"}, ["/rate"]),
        ({"rate": 1, "burst": 0}, ["/burst"]),
        ({"rate": 1, "burst": 1.5}, ["/burst"]),
    ],
)
async def test_a_limit_that_cannot_be_is_pointed_at(
    client: httpx.AsyncClient, limit: dict[str, Any], wrong: list[str]
) -> None:
    answer = await client.post("/v1/keys", json={"name": "x", "scopes": ["read"], **limit})
    assert pointers(check_problem(answer, 422, "invalid_request")) == wrong


async def test_ingest_of_one_costs_one(client: httpx.AsyncClient, make: Make) -> None:
    limited = await new_key(client, "ingest", rate=NEVER, burst=3)
    answers = [await client.post("/v1/interactions", json=make(), headers=limited) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    await store(client, make())


async def test_who_came_with_a_token_and_is_long_gone_is_forgotten_and_no_key_is(
    client: httpx.AsyncClient, database: Database
) -> None:
    made = await client.post("/v1/keys", json={"name": "k", "scopes": ["read"], "rate": 1})
    key_id = UUID(made.json()["id"])
    session = WriteSession(database)
    gone, lately = UUID(bytes(15) + b"1"), UUID(bytes(15) + b"2")
    for each in (key_id, gone, lately):
        await storage.lease(session, each, rate=1, burst=1, need=1, more=0)
    await database.execute("UPDATE key_rates SET at = at - interval '8 days' WHERE key_id <> $1", lately)
    await storage.forget(session)
    assert {row["key_id"] for row in await database.fetch("SELECT key_id FROM key_rates")} == {key_id, lately}
