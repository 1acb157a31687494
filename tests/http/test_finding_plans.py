"""A search of many customers reads few: each filter has its index."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from test_statements import plan_of, statements_read

from exchanges import store
from following import follow
from support import Make, running
from writing import Database

PATH = "/v1/customers"

MANY = """
    WITH made AS (
        INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at)
        SELECT md5(n::text)::uuid, 'email', md5(n::text) || '@example.com', true, md5(n::text)::uuid, now()
        FROM generate_series(1, 100000) AS n
    )
    INSERT INTO customer_profiles
    SELECT md5(n::text)::uuid, now(), ARRAY[md5(n::text)::uuid], now(), now() - n * interval '1 minute', 1,
        CASE n % 1000 WHEN 1 THEN ARRAY['fax', 'phone'] ELSE ARRAY['phone', 'web'] END,
        CASE n % 1000 WHEN 2 THEN 'cracked' ELSE 'solid' END, 0, (n % 1000 = 3)::int,
        n % 2, now(), n, 'EUR', false, 3, 3, 3,
        CASE n % 1000 WHEN 4 THEN 'champions' WHEN 5 THEN NULL ELSE 'loyal' END,
        jsonb_build_object('city', 'city ' || n % 1000, 'tier', n % 3),
        ARRAY['city:city ' || n % 1000, 'tier:' || n % 3]
    FROM generate_series(1, 100000) AS n
"""
"""Customers, each with one identity, of whom one in a thousand is rare in one way each."""


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    async with running(database_url) as (app, client):
        yield app, client


def indexes_of(plan: str) -> set[str]:
    """The indexes that a plan reads."""
    return set(re.findall(r"(?:Index Scan|Index Only Scan|Bitmap Index Scan)[\w ]*? (?:using|on) (\w+)", plan))


def most_rows(plan: str) -> int:
    """The most rows that any step of a plan that was run read."""
    kept = [round(float(rows) * int(loops)) for rows, loops in re.findall(r"rows=([\d.]+) loops=(\d+)", plan)]
    left = [int(rows) for rows in re.findall(r"Rows Removed by (?:Filter|Index Recheck): (\d+)", plan)]
    return max(kept + left)


async def test_every_filter_of_a_search_has_an_index_among_100_000_customers(
    service: tuple[FastAPI, httpx.AsyncClient], make: Make, database: Database
) -> None:
    app, client = service
    await store(client, make(customer={"crm_id": "C-1"}))
    await follow(app.state.services)
    await database.execute(MANY)
    await database.execute("VACUUM ANALYZE customer_profiles, identities")
    page = (await client.get(f"{PATH}?limit=2")).json()
    walked = (await client.get(f"{PATH}?limit=2&identifier=email:a")).json()
    await client.put("/v1/segments/rare", json={"filter": {"channel": ["fax"], "last_contact_within": "60d"}})
    for path, index in (
        (PATH, "last_at_customer_id"),
        (f"{PATH}?order=asc", "last_at_customer_id"),
        (f"{PATH}?limit=500&cursor={page['next_cursor']}", "last_at_customer_id"),
        (f"{PATH}?last_contact_before=69d", "last_at_customer_id"),
        (f"{PATH}?last_contact_within=24h&order=asc", "last_at_customer_id"),
        (f"{PATH}?channel=phone", "last_at_customer_id"),
        (f"{PATH}?relationship=solid&rfm=loyal", "customer_id"),
        (f"{PATH}?channel=fax", "channels"),
        (f"{PATH}?trait=city:city%2017", "labels"),
        (f"{PATH}?trait=city:city%2017&trait=tier:1", "labels"),
        (f"{PATH}?relationship=cracked", "relationship"),
        (f"{PATH}?rfm=champions", "rfm"),
        (f"{PATH}?rfm=champions&rfm=lost", "rfm"),
        (f"{PATH}?open_complaints=true", "complaining"),
        (f"{PATH}?channel=fax&trait=city:city%201&relationship=solid", "customer_profiles"),
        (f"{PATH}?identifier=email:abc", "kind_value"),
        (f"{PATH}?identifier=email:a", "kind_value"),
        (f"{PATH}?limit=500&identifier=email:a&cursor={walked['next_cursor']}", "kind_value"),
        (f"{PATH}?identifier=email:abc&relationship=solid", "kind_value"),
        (f"{PATH}?segment=rare&relationship=solid", "channels"),
        ("/v1/segments/rare/members", "channels"),
        (f"/v1/segments/rare/members/{page['items'][0]['customer_id']}", "pkey"),
    ):
        async with statements_read(app) as seen:
            answer = await client.get(path)
            assert answer.status_code == 200, path
        assert len(seen) <= 8, [statement for statement, _ in seen]
        searches = [statement for statement in seen if re.search(r"customer_profiles p|FROM identities", statement[0])]
        assert searches
        used = set()
        for statement in searches:
            plan = await plan_of(database, statement, generic=False)
            assert "Seq Scan on customer_profiles" not in plan, (path, plan)
            assert "Seq Scan on identities" not in plan, (path, plan)
            # The largest page has 500; one in a thousand is 100; few identifiers begin with `abc`.
            assert most_rows(plan) <= 1100, (path, plan)
            used |= indexes_of(plan)
        assert any(index in each for each in used), (path, used)
