"""Quarantine is large where something is wrong: each filter has its index, and the rest is looked through in parts."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from test_finding_plans import indexes_of, most_rows
from test_statements import plan_of, statements_read

from exchanges import walk
from percorso.queries import rejected
from support import running
from writing import Database

PATH = "/v1/rejected"
ROWS = 120_000
MANY = """
    INSERT INTO rejected_interactions
        (rejection_id, received_at, source, sender_id, errors, payload, size, format, channel, reasons, state)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '8000' ||
        substr(md5(n::text), 1, 16))::uuid, at,
        CASE n % 1000 WHEN 1 THEN 'rare' ELSE 'common' END, 'id-' || n % 60000, '[]', '{}', 2,
        CASE n % 40000 WHEN 2 THEN 'tmf683' ELSE 'native' END, 'phone',
        ARRAY[CASE n % 60000 WHEN 3 THEN 'empty:/text' ELSE 'required:/customer' END, 'unknown:/legacy'],
        CASE n % 1000 WHEN 4 THEN 'dismissed' ELSE 'replayed' END
    FROM generate_series(1, $1::int) AS n, LATERAL (SELECT now() - n * interval '1 second') AS of(at)
"""
"""Items, of which few are rare in one way each."""


@pytest.fixture
async def service(database_url: str, database: Database) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    async with running(database_url) as (app, client):
        await database.execute(MANY, ROWS)
        await database.execute("VACUUM ANALYZE rejected_interactions")
        yield app, client


async def test_every_filter_is_led_by_its_index_and_reads_no_more_than_is_said(
    service: tuple[FastAPI, httpx.AsyncClient], database: Database
) -> None:
    app, client = service
    second = (await client.get(f"{PATH}?limit=500")).json()["next_cursor"]
    for query, index, most in (
        ("limit=500", "pkey", 501),
        (f"limit=500&cursor={second}", "pkey", 501),
        ("source=rare&limit=500", "source", 501),
        ("source=common", "source", 501),
        ("source=nobody", "source", 501),
        ("id=id-7&source=common", "sender_id", 501),
        ("state=dismissed", "state", 501),
        ("state=waiting", "state", 501),
        ("format=tmf683", "pkey", 10_000),
        ("reason=empty", "pkey", 20_000),
        ("pointer=/text&source=rare", "source", 10_000),
        ("source=rare&to=1999-01-01T00:00:00Z", "source", 501),
    ):
        async with statements_read(app) as seen:
            answer = await client.get(f"{PATH}?{query}")
            assert answer.status_code == 200, query
        searches = [each for each in seen if "rejected_interactions" in each[0]]
        assert 2 <= len(searches) <= 11, query
        used = set()
        for statement in searches:
            plan = await plan_of(database, statement, generic=True)
            assert "Seq Scan on rejected_interactions" not in plan, (query, plan)
            assert most_rows(plan) <= most, (query, plan)
            used |= indexes_of(plan)
        assert any(index in each for each in used), (query, used)


async def test_what_is_rare_is_found_in_all_of_it_though_a_page_may_be_short(
    service: tuple[FastAPI, httpx.AsyncClient],
) -> None:
    _, client = service
    pages = [page async for page in walk(client, PATH, reason="empty:/text")]
    assert [len(page) for page in pages] == [2, 0]
    rare = [item for page in [page async for page in walk(client, PATH, format="tmf683", limit=1)] for item in page]
    assert len(rare) == 3
    assert len({item["rejection_id"] for item in rare}) == 3


async def test_counts_say_since_when_they_count_where_there_is_too_much(
    service: tuple[FastAPI, httpx.AsyncClient], database: Database
) -> None:
    app, client = service
    async with statements_read(app) as seen:
        found = (await client.get(f"{PATH}/counts")).json()
    assert found["items"] == rejected.MOST_LOOKED_THROUGH
    assert found["counted_from"] is not None
    assert found["groups"][0] == {"reason": "unknown:/legacy", "items": rejected.MOST_LOOKED_THROUGH}
    for statement in [each for each in seen if "rejected_interactions" in each[0]]:
        plan = await plan_of(database, statement, generic=False)
        assert "Seq Scan on rejected_interactions" not in plan
        # With two reasons each.
        assert most_rows(plan) <= 2 * rejected.MOST_LOOKED_THROUGH
    led = (await client.get(f"{PATH}/counts?source=rare&by=state")).json()
    assert (led["items"], led["counted_from"]) == (ROWS // 1000, None)
    assert sum(group["items"] for group in led["groups"]) == ROWS // 1000
    receipt = (await client.post(f"{PATH}/dismiss", json={"filter": {"format": "tmf683"}})).json()
    assert (receipt["dismissed"], receipt["remaining"]) == (0, 0)
