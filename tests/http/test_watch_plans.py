"""What watches read, they find by an index, however much fired before and however many are waited for."""

from typing import Final

from test_finding_plans import most_rows
from test_statements import plan_of, statements_read

from exchanges import store
from percorso.queries import watching
from percorso.storage.database import reading
from support import Make, running
from watched import THREE, UNANSWERED, Clock, told, watch, watcher
from writing import Database

MANY: Final = """
    WITH made AS (
        INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at)
        SELECT md5(n::text)::uuid, 'email', md5(n::text) || '@example.com', true, md5(n::text)::uuid, now()
        FROM generate_series(1, 50000) AS n
    ), due AS (
        INSERT INTO watch_deadlines SELECT md5(n::text)::uuid, now() + n * interval '1 hour'
        FROM generate_series(1, 50000) AS n
    ), fired AS (
        INSERT INTO watch_firings
        SELECT md5('f' || n)::uuid, (SELECT watch_id FROM watches ORDER BY name LIMIT 1), 'three', 1,
        md5(n::text)::uuid, now() - n * interval '1 minute', now(), 1,
        (1000000000 + n % 5000)::text::xid8, n / 5000 FROM generate_series(1, 50000) AS n
    )
    INSERT INTO watch_evidence
    SELECT (SELECT watch_id FROM watches ORDER BY name LIMIT 1), 1, md5('i' || n || k)::uuid, md5(n::text)::uuid,
    md5('f' || n)::uuid FROM generate_series(1, 50000) AS n, generate_series(1, 3) AS k
"""
READ: Final = ("watch_deadlines", "watch_firings", "watch_evidence", "identities", "interactions")


async def test_what_watches_read_is_found_by_an_index(database_url: str, database: Database, make: Make) -> None:
    clock = Clock()
    async with running(database_url) as (app, client):
        services = app.state.services
        await watch(services, "three", THREE)
        await watch(services, "unanswered", UNANSWERED)
        await database.execute(MANY)
        await database.execute("VACUUM ANALYZE identities, watch_deadlines, watch_firings, watch_evidence")
        await store(client, *(make(occurred_at=clock.at(-1), topics=["x"], kind="complaint") for _ in range(3)))
        await database.execute("UPDATE watches SET since = '2020-01-01'")
        async with statements_read(app) as seen:
            await watcher(services).run()
            await database.execute("UPDATE watch_deadlines SET due_at = '2020-01-01' WHERE due_at < now() + '1 hour'")
            await watcher(services).run()
            page = (await client.get("/v1/watches/three/firings", params={"limit": 2})).json()
            await client.get("/v1/watches/three/firings", params={"limit": 2, "cursor": page["next_cursor"]})
            [row] = await told(database)
            async with reading(services.engine) as session:
                assert len(await watching.firings_of(session, [(row["generation"], int(row["xid8"]))])) == 1
    asked = [each for each in seen if each[0].startswith("SELECT") and any(f" {name}" in each[0] for name in READ)]
    assert {name for name in READ for sql, _ in asked if f" {name}" in sql} == set(READ)
    for statement in asked:
        plan = await plan_of(database, statement, generic=True)
        for name in READ:
            assert f"Seq Scan on {name}" not in plan, plan
        assert most_rows(plan) <= 10, plan
