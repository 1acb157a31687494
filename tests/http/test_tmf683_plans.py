"""Lists of party interactions use indexes on a table of many partitions, where they can."""

import json

import asyncpg
from test_statements import plan_of, statements_read

from exchanges import store
from support import Make, running

PATH = "/tmf-api/partyInteraction/v4/partyInteraction"
PLACES = """
    INSERT INTO touchpoints (touchpoint_id, slug, discovered)
    SELECT 1000 + n, 'place-' || n, true FROM generate_series(0, 39) AS n
"""


async def test_lists_use_indexes_unless_they_have_to_compare_each(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]", make: Make
) -> None:
    async with running(database_url) as (app, client):
        months = [make(touchpoint="place", occurred_at=f"2025-{month:02}-05T00:00:00Z") for month in range(1, 13)]
        receipts = await store(client, *months)
        await app.state.services.writer.stop()
        await database.execute(PLACES)
        for receipt in receipts:
            await database.execute(
                "INSERT INTO interactions (identity_id, id, received_at, touchpoint_id, channel, direction, document) "
                "SELECT md5(n::text || $1)::uuid, overlay($1 placing lpad(to_hex(n), 12, '0') from 25)::uuid, now(), "
                "1000 + n % 40, 'phone', 'inbound', $2::text::json FROM generate_series(1, 1000) AS n",
                receipt["interaction_id"],
                json.dumps({"channel": "phone", "customer": {"email": "b@example.com"}, "touchpoint": "place-1"}),
            )
        await database.execute("VACUUM ANALYZE interactions, touchpoints")
        for query, total in (
            ("", 12_012),
            ("?offset=100&limit=10", 12_012),
            ("?channel.id=place", 12),
            ("?channel.id=place-1&limit=10", 300),
            ("?channel.id=place-1&direction=inbound", 300),
            (f"?id={receipts[0]['interaction_id']}", 1),
        ):
            async with statements_read(app) as seen:
                answer = await client.get(PATH + query)
            assert answer.headers["x-total-count"] == str(total), query
            statements = [each for each in seen if "FROM interactions" in each[0]]
            assert 1 <= len(statements) <= 2, statements
            for statement in statements:
                plan = await plan_of(database, statement, generic=False)
                if "count(*) FROM interactions" in statement[0] and "channel" not in query:
                    continue  # all there are have to be counted
                assert "Seq Scan on interactions" not in plan, (query, plan)
