"""A page of the feed is read by indexes, in a handful of statements, however much there is."""

from datetime import UTC, datetime, timedelta

from test_statements import plan_of, statements_read

from exchanges import store, store_all
from feeding import page
from percorso.http.services import Services
from percorso.queries import feed
from percorso.storage import partitions
from percorso.storage.database import reading, writing
from support import Make, running
from writing import Database

COMMITS = """
    INSERT INTO commits (generation, xid8, at, what, hours, identity_ids, interaction_ids)
    SELECT 0, ($1::int * 2000 + n)::text::xid8, $2::timestamptz, 'stored', '{}', ARRAY[md5(n::text)::uuid],
           ARRAY[md5(n::text)::uuid]
    FROM generate_series(1, 2000) AS n
"""
"""A day of an earlier generation, of interactions that are gone."""
OTHERS = """
    INSERT INTO interactions (identity_id, id, received_at, touchpoint_id, channel, direction, document)
    SELECT md5(n::text || $1)::uuid, overlay($1 placing lpad(to_hex(n), 12, '0') from 25)::uuid, now(), 1, 'phone',
           'inbound', '{"customer": {}, "source": "x"}' FROM generate_series(1, 1000) AS n
"""
PEOPLE = """
    INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at)
    SELECT id, 'email', id::text, true, id, now()
    FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 5000)) AS n
"""


async def test_a_page_takes_a_handful_of_statements_by_indexes(
    database_url: str, database: Database, make: Make
) -> None:
    days = [datetime.now(UTC) - timedelta(days=number) for number in range(14, 0, -1)]
    async with running(database_url) as (app, client):
        services: Services = app.state.services
        months = [make(occurred_at=f"2025-{month:02}-05T00:00:00Z") for month in range(1, 13)]
        receipts = await store(client, *months)
        await store_all(client, [make(touchpoint="shop", occurred_at="2025-06-05T00:00:00Z") for _ in range(20)])
        await client.patch(f"/v1/interactions/{receipts[0]['interaction_id']}", json={"text": "new"})
        await services.writer.stop()
        async with writing(services.engine) as session:
            await partitions.ensure_days(session, days)
        for number, day in enumerate(days):
            await database.execute(COMMITS, number, day)
        for receipt in receipts:
            await database.execute(OTHERS, receipt["interaction_id"])
        await database.execute(PEOPLE)
        await database.execute("VACUUM ANALYZE interactions, commits, identities")
        middle = feed.Position(0, 14_000, 0).encoded()
        late = feed.Position(1, 0, 0).encoded()
        for after, params, wanted, number in (
            (None, {}, 100, 4),
            (middle, {}, 100, 4),
            (late, {}, 33, 6),
            (late, {"touchpoint": "shop", "source": "test"}, 20, 6),
            (late, {"customer": "email:anna@example.com"}, 33, 7),
            (late, {"event": "interaction.changed"}, 1, 5),
        ):
            await page(client, after, **params)  # so that the driver has asked for every type
            async with statements_read(app) as seen:
                found = await page(client, after, **params)
            assert len(found["items"]) == wanted, params
            # Two looks at the ends, the log, what was stored and what was changed, whose it is.
            assert len(seen) <= number, [each[0][:60] for each in seen]
            for statement in seen:
                plan = await plan_of(database, statement, generic=True)
                for table in (*(f"commits_{day:%Y_%m_%d}" for day in days), "interactions_2025", "identities"):
                    assert f"Seq Scan on {table}" not in plan, (params, plan)
        async with reading(services.engine) as reader:
            assert (await feed.newest(reader)).generation == 1
