"""The statements that hot routes send: how many, and that each uses its index on a table of many partitions."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from exchanges import journey_of, store, store_all
from percorso import ids
from percorso.http.services import Services
from support import Make, running

Statement = tuple[str, tuple[Any, ...]]
ANNA = journey_of("email:anna@example.com")


OTHERS = """
    INSERT INTO interactions (identity_id, id, received_at, touchpoint_id, channel, direction, document)
    SELECT md5(random()::text)::uuid,
           (lpad(to_hex(
               (extract(epoch FROM now() - number * interval '28 days' - n * interval '1 minute') * 1000)::bigint
           ), 12, '0') || '8000' || substr(md5(random()::text), 1, 16))::uuid,
           now(), 1000 + n % 40, 'phone', 'inbound', '{"customer": {}}'
    FROM generate_series(0, $1::int - 1) AS number, generate_series(1, $2::int) AS n
"""
"""Interactions of other people at other places, so many in each of so many months that their plans matter."""


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    async with running(database_url, audit_reads=0, max_identifiers={}) as (app, client):
        yield app, client


@asynccontextmanager
async def statements_read(app: FastAPI) -> AsyncIterator[list[Statement]]:
    """What is sent through the pools while the block runs."""
    seen: list[Statement] = []
    services: Services = app.state.services

    def note(record: Any) -> None:
        seen.append((record.query, tuple(record.args or ())))

    def listen(connection: Any, *_: object) -> None:
        connection.driver_connection.add_query_logger(note)

    def leave(connection: Any, *_: object) -> None:
        connection.driver_connection.remove_query_logger(note)

    def cursor(connection: Any, query: str, *args: Any, **named: Any) -> Any:
        seen.append((query, args))
        return open_cursor(connection, query, *args, **named)

    pools = [engine.sync_engine.pool for engine in (services.engine, services.analytics.engine)]
    for pool in pools:
        event.listen(pool, "checkout", listen)
        event.listen(pool, "checkin", leave)
    open_cursor = asyncpg.Connection.cursor
    try:
        with patch.object(asyncpg.Connection, "cursor", cursor):  # of which asyncpg does not tell
            yield seen
        await asyncio.sleep(0)  # asyncpg tells of a statement when the loop comes round
    finally:
        for pool in pools:
            event.remove(pool, "checkout", listen)
            event.remove(pool, "checkin", leave)


@contextmanager
def statements_written(app: FastAPI) -> Iterator[list[str]]:
    """What the writer sends while the block runs, COPY aside, which asyncpg does not tell of."""
    seen: list[str] = []
    lanes = app.state.services.writer._lanes  # noqa: SLF001 - there is no other way to listen

    def note(record: Any) -> None:
        seen.append(record.query)

    for lane in lanes:
        lane.session.add_query_logger(note)
    try:
        yield seen
    finally:
        for lane in lanes:
            lane.session.remove_query_logger(note)


async def plan_of(database: "asyncpg.Connection[asyncpg.Record]", statement: Statement, *, generic: bool) -> str:
    await database.execute(f"SET plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
    rows = await database.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {statement[0]}", *statement[1])
    return "\n".join(row[0] for row in rows)


async def test_the_most_frequent_requests_send_few_statements(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make
) -> None:
    app, client = service
    now = datetime.now(UTC)
    recent = [make(occurred_at=(now - timedelta(days=days)).isoformat()) for days in (1, 2, 3)]
    [receipt, *_] = await store(client, *recent)
    await store(client, make(occurred_at="2015-01-01T00:00:00Z"))
    # So that the key is remembered, and asyncpg has asked what arrays of UUIDs, of texts and of numbers are.
    for path in ("/v1/customers/email:anna@example.com", "/v1/touchpoints/phone/interactions"):
        await client.get(path)
    await client.get("/v1/touchpoints")
    one = f"/v1/interactions/{receipt['interaction_id']}"
    for path, most in (
        (f"{ANNA}?limit=2", 1),  # the latest quarter
        (f"{ANNA}?limit=3", 2),  # a fourth was looked for in all that is older
        (f"{ANNA}?order=asc", 1),
        (f"{ANNA}?from={(now - timedelta(days=30)).isoformat().replace('+00:00', 'Z')}", 1),
        # BEGIN and COMMIT too, so that all see the same: who it is, their zone, and all contacts at once.
        ("/v1/customers/email:anna@example.com/summary", 5),
        ("/v1/customers/email:anna@example.com/episodes", 5),
        ("/v1/customers/email:anna@example.com", 4),
        ("/v1/customers/email:anna@example.com/traits", 2),
        ("/v1/customers/email:anna@example.com/traits/history?name=a", 2),
        ("/v1/customers/email:anna@example.com/consents?purpose=marketing&channel=email", 2),
        ("/v1/customers/email:anna@example.com/consents/history", 2),
        (one, 2),
        (f"{one}/revisions", 2),
        (f"/v1/interactions?source=test&id={recent[0]['id']}", 3),
        ("/v1/touchpoints/phone/interactions", 3),
        ("/v1/touchpoints/phone", 2),
        # As of when, figures, what was merged, and the registry.
        ("/v1/touchpoints", 4),
        ("/v1/touchpoints/phone/stats", 4),
        ("/v1/analytics/channels", 5),
        # Which they are, and what is told of them.
        ("/v1/rejected", 2),
    ):
        async with statements_read(app) as seen:
            assert (await client.get(path)).status_code == 200
        assert 0 < len(seen) <= most, (path, [statement for statement, _ in seen])
        assert not any(re.search(r"OFFSET|count\(\*\) OVER", statement) for statement, _ in seen)


def over_ten_years(make: Make, each: int) -> list[dict[str, Any]]:
    """Interactions of ten addresses of one person, so many of each, spread evenly over the ten years up to now."""
    addresses = [f"dieci.{number}@example.com" for number in range(10)]
    step = timedelta(days=3650) / (10 * each)
    return [
        make(
            id=f"{number:05}",
            occurred_at=(datetime.now(UTC) - timedelta(minutes=1) - step * number).isoformat(),
            customer={"email": addresses if number == 0 else addresses[number % 10]},
        )
        for number in range(10 * each)
    ]


async def test_a_page_of_ten_identities_over_ten_years_is_one_statement_once_they_are_known_to_be_far_apart(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make
) -> None:
    app, client = service
    await store_all(client, over_ten_years(make, 6))
    path = journey_of("email:dieci.3@example.com")
    for statements in (2, 1, 1):
        async with statements_read(app) as seen:
            page = (await client.get(path)).json()
        assert [item["id"] for item in page["items"]] == [f"{number:05}" for number in range(50)]
        assert page["next_cursor"] is not None
        journey = [statement for statement in seen if "interactions" in statement[0]]
        assert len(journey) == statements
    # They come together again, and the latest quarter is looked at alone.
    await store_all(client, [make(occurred_at=None, customer={"email": "dieci.7@example.com"}) for _ in range(60)])
    await client.get(path)
    async with statements_read(app) as seen:
        assert (await client.get(path)).status_code == 200
    [(_, (_, low, *_))] = seen
    assert low > ids.first_id_at(datetime.now(UTC) - timedelta(days=100))


async def test_a_partition_is_visited_once_for_ten_identities(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    app, client = service
    await store_all(client, over_ten_years(make, 20))
    await database.execute(OTHERS, 120, 100)
    await database.execute("ANALYZE")
    path = journey_of("email:dieci.3@example.com")
    async with statements_read(app) as seen:
        assert (await client.get(path)).status_code == 200
    older = [statement for statement in seen if "interactions" in statement[0]][-1]
    for generic in (False, True):
        plan = await plan_of(database, older, generic=generic)
        loops = re.findall(r"on interactions_\d\S* \S*\s*\(actual rows=\S+ loops=(\d+)\)", plan)
        assert len(loops) >= 50, plan[:3000]
        assert set(loops) == {"1"}, plan[:3000]


async def test_a_long_past_is_read_no_further_than_a_page_needs_and_a_rare_channel_is_found_in_it(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make
) -> None:
    app, client = service
    now = datetime.now(UTC)
    pasts = [item for item in over_ten_years(make, 1000) if item["id"] == "00000" or item["id"] > "00300"]
    assert datetime.fromisoformat(pasts[1]["occurred_at"]) < now - timedelta(days=100)
    rare = {"00000", "00301", "05000", "09999"}
    await store_all(client, [item | ({"channel": "fax"} if item["id"] in rare else {}) for item in pasts])
    path = journey_of("email:dieci.3@example.com")
    wanted = [item["id"] for item in pasts]
    for query, expected, most in (
        ("?limit=50", wanted[:50], 3),  # the latest quarter; not few in all that is older; of each identity some
        ("?limit=500", wanted[:500], 2),  # at once in all there is
        ("?channel=fax", sorted(rare), 2),
        ("?kind=nothing", [], 2),
    ):
        async with statements_read(app) as seen:
            page = (await client.get(path + query)).json()
        assert [item["id"] for item in page["items"]] == expected
        assert 0 < len([statement for statement in seen if "interactions" in statement[0]]) <= most


async def test_to_store_sends_a_handful_of_statements_however_many_there_are(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make
) -> None:
    app, client = service
    await store(client, make(customer={"email": "anna@example.com", "phone": "+39066982"}))
    async with statements_read(app) as read:
        with statements_written(app) as written:
            await store(client, make())
    assert read == []
    assert len(written) == 1, written
    with statements_written(app) as written:
        await store_all(client, [make() for _ in range(400)])
    # BEGIN, the epoch, the row of the commit log, COMMIT; and two COPY.
    assert len(written) <= 4, written
    with statements_written(app) as written:
        await store_all(client, [make(customer={"email": f"c{n}@example.com", "crm_id": f"C-{n}"}) for n in range(400)])
    assert len(written) <= 5, written


async def test_to_merge_and_split_reads_no_interaction_and_sends_as_many_statements_whatever_the_history(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    app, client = service
    both = {"email": "anna@example.com", "phone": "+39066982"}
    acts = {
        "split": {"identifiers": ["phone:+39066982"], "reason": "x"},
        "merge": {"into": "phone:+39066982", "reason": "x"},
    }
    told: dict[tuple[int, str], list[str]] = {}
    for history in (1, 300):
        await store_all(client, [make(customer=both) for _ in range(history)])
        # Twice, so that the connections have what they need the second time.
        for what in (*acts, *acts):
            async with statements_read(app) as seen:
                answer = await client.post(f"/v1/customers/email:anna@example.com/{what}", json=acts[what])
                assert answer.status_code == 200, answer.text
            told[history, what] = [statement for statement, _ in seen]
    for what in acts:
        assert told[1, what] == told[300, what]
        assert not any("interactions" in each.replace("interaction_ids", "") for each in told[300, what])
    # Nor does what the functions do in the database read any.
    functions = await database.fetch("SELECT prosrc FROM pg_proc WHERE proname = 'percorso_rebuild'")
    assert functions
    assert not any("interactions" in function["prosrc"] for function in functions)


async def test_the_identity_of_a_customer_reads_by_its_indexes(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    app, client = service
    await store_all(
        client,
        [
            make(customer={"email": f"c{n}@example.com", "phone": f"+3906{n:07}", "cookie_id": f"{n}"})
            for n in range(1500)
        ],
    )
    await database.execute(
        "INSERT INTO identity_changes (change_id, at, what, identity_a, identity_b, state) "
        "SELECT gen_random_uuid(), now() - interval '1 day', 'merged', identity_a, identity_b, 'active' "
        "FROM identity_links"
    )
    await database.execute("ANALYZE")
    for query in ("", "?at=2126-01-01T00:00:00Z"):
        async with statements_read(app) as seen:
            answer = await client.get(f"/v1/customers/email:c7@example.com/identity{query}")
            assert len(answer.json()["links"]) == 2
        for statement in seen:
            if "FROM identit" in statement[0]:
                plan = await plan_of(database, statement, generic=True)
                assert "Seq Scan" not in plan, plan


async def test_hot_reads_use_their_indexes_on_many_partitions(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    app, client = service
    now = datetime.now(UTC)
    both = {"email": "anna@example.com", "crm_id": "C-1"}
    one = {"email": "bruno@example.com"}
    items = [
        make(occurred_at=(now - timedelta(days=28 * number)).isoformat(), touchpoint="rare", customer=customer)
        for number in range(60)
        for customer in (one, both, {"crm_id": "C-1"}, {"email": "anna@example.com"})
    ]
    await store_all(client, items)
    await database.execute(OTHERS, 59, 1500)
    await database.execute("ANALYZE")
    # Those of a page or two, at the ends, are rightly read whole.
    large = {
        row["relname"]
        for row in await database.fetch(
            "SELECT relname FROM pg_class WHERE relname LIKE 'interactions\\_2%' AND relpages > 9"
        )
    }
    assert len(large) >= 50
    cursor = (await client.get(f"{journey_of('crm_id:C-1')}?limit=2")).json()["next_cursor"]
    for path, indexes in (
        (journey_of("email:bruno@example.com"), "pkey"),
        (journey_of("email:bruno@example.com") + "?limit=500", "pkey"),
        (journey_of("email:bruno@example.com") + "?order=asc", "pkey"),
        (journey_of("email:bruno@example.com") + "?channel=phone&touchpoint=rare", "pkey"),
        (journey_of("crm_id:C-1"), "pkey"),
        (journey_of("crm_id:C-1") + "?limit=500&order=asc", "pkey"),
        ("/v1/customers/crm_id:C-1/summary", "pkey"),
        ("/v1/customers/crm_id:C-1/episodes", "pkey"),
        (journey_of("crm_id:C-1") + f"?cursor={cursor}", "pkey"),
        ("/v1/customers/crm_id:C-1", "pkey"),
        ("/v1/touchpoints/rare/interactions", "touchpoint_id"),
        ("/v1/touchpoints/rare/interactions?order=asc&channel=phone", "touchpoint_id"),
        (f"/v1/interactions?source=test&id={items[7]['id']}", "pkey"),
    ):
        async with statements_read(app) as seen:
            assert (await client.get(path)).status_code == 200
        hot = [statement for statement in seen if re.search(r"FROM interactions\b", statement[0])]
        assert hot
        for statement in hot:
            for generic in (False, True):
                plan = await plan_of(database, statement, generic=generic)
                assert large.isdisjoint(re.findall(r"Seq Scan on (interactions\w*)", plan)), (
                    path,
                    generic,
                    plan[:3000],
                )
                used = set(
                    re.findall(
                        r"(?:Index Scan|Index Only Scan|Bitmap Index Scan)[\w ]*? (?:using|on) (interactions\w+)", plan
                    )
                )
                assert used, (path, plan[:3000])
                assert all(indexes in index for index in used), (path, used)


async def test_what_is_said_of_a_customer_is_read_by_index_however_long_its_history(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    app, client = service
    await store(client, make(customer={"email": "anna@example.com", "crm_id": "C-1"}), make())
    await database.execute(
        "INSERT INTO traits (identity_id, occurred_at, digest, name, value, source, received_at, set_by) "
        "SELECT identity_id, now() - number * interval '1 hour', gen_random_uuid(), name, to_json(number), 's', now(), "
        "'k' FROM identities, generate_series(1, 3000) AS number, unnest('{age,city,tier}'::text[]) AS name"
    )
    await database.execute(
        "INSERT INTO consents (identity_id, occurred_at, digest, purpose, channel, status, source, received_at) "
        "SELECT identity_id, now() - number * interval '1 hour', gen_random_uuid(), purpose, channel, 'granted', 's', "
        "now() FROM identities, generate_series(1, 3000) AS number, unnest('{marketing,research}'::text[]) AS purpose, "
        "unnest('{any,email}'::text[]) AS channel"
    )
    await database.execute("ANALYZE")
    asked = "/v1/customers/crm_id:C-1"
    # Of each identity one more than a page has, and the rest of its last moment.
    most_of_a_page = 2 * (6 + 4)
    for path, table, most in (
        ("traits", "traits", 2 * 2 * 3),
        ("consents?purpose=marketing&channel=email", "consents", 2 * 4 * 40),
        ("traits/history?limit=5", "traits", most_of_a_page),
        ("traits/history?limit=5&name=city", "traits", most_of_a_page),
        ("consents/history?limit=5", "consents", most_of_a_page),
    ):
        async with statements_read(app) as seen:
            answer = await client.get(f"{asked}/{path}")
        assert answer.status_code == 200
        [statement] = [statement for statement in seen if f"FROM {table}" in statement[0]]
        plan = await plan_of(database, statement, generic=True)
        scans = re.findall(rf"(\w+ Scan)(?: Backward)? (?:using \w+ )?on {table} .*rows=([0-9.]+) loops=(\d+)", plan)
        assert scans, plan
        assert {kind for kind, _, _ in scans} <= {"Index Scan"}, plan
        assert sum(float(rows) * int(loops) for _, rows, loops in scans) <= most, plan
    traits = (await client.get(f"{asked}/traits")).json()["traits"]
    assert {name: trait["value"] for name, trait in traits.items()} == {"age": 1, "city": 1, "tier": 1}
    consents = (await client.get(f"{asked}/consents")).json()["items"]
    assert [(each["purpose"], each["channel"]) for each in consents] == [
        (purpose, channel) for purpose in ("marketing", "research") for channel in ("any", "email")
    ]
