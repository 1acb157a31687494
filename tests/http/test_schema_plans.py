"""Trying a schema on what is stored reads little of a large table: by the BRIN index on id, from the newest back."""

from datetime import UTC, datetime, timedelta

from test_finding_plans import indexes_of, most_rows
from test_statements import plan_of, statements_read

from percorso import ids
from percorso.storage import partitions
from percorso.storage.database import writing
from support import running
from writing import Database

MANY = """
    INSERT INTO interactions (identity_id, id, received_at, touchpoint_id, channel, kind, direction, document)
    SELECT md5(n::text)::uuid,
        (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - (200000 - n) * 10), 12, '0')
            || '8000' || lpad(to_hex(n), 16, '0'))::uuid,
        now(), 1 + n % 300, CASE n % 2 WHEN 0 THEN 'phone' ELSE 'web' END, 'call', 'inbound',
        '{"source": "test", "channel": "phone"}'
    FROM generate_series(1, 200000) AS n
"""
"""Interactions of the last 33 minutes, in order of time; every second one is of the phone."""


NOW = datetime.now(UTC)


async def test_the_latest_of_a_kind_are_found_without_reading_the_table(database_url: str, database: Database) -> None:
    async with running(database_url) as (app, client):
        async with writing(app.state.services.engine) as session:
            await partitions.ensure_months(
                session, partitions.months_of([ids.unix_ms(NOW - timedelta(days=days)) for days in (0, 1, 9000)])
            )
        await database.execute(MANY)
        await database.execute("VACUUM ANALYZE interactions")
        async with statements_read(app) as seen:
            answer = await client.post(
                "/v1/schemas/phone/call/check", json={"schema": {"required": ["agent"]}, "last": 400}
            )
        found = answer.json()
        assert (found["checked"], found["failed"], found["complete"]) == (400, 400, True)
        reads = [statement for statement in seen if "FROM interactions" in statement[0]]
        assert len(reads) == 1
        plan = await plan_of(database, reads[0], generic=False)
        # With few touchpoints Postgres 18 may skip through the other index.
        assert indexes_of(plan) & {f"interactions_{NOW:%Y_%m}_id_idx", f"interactions_{NOW:%Y_%m}_touchpoint_id_id_idx"}
        assert "Seq Scan" not in plan, plan
        # Ten seconds have 1,000, and a range of the index has some thousand.
        assert most_rows(plan) < 20_000, plan
        async with statements_read(app) as seen:
            answer = await client.post("/v1/schemas/phone/other/check", json={"schema": {}})
        assert (answer.json()["checked"], answer.json()["complete"]) == (0, True)
        # All of 25 years, in strides that grow.
        assert len([statement for statement in seen if "FROM interactions" in statement[0]]) < 20
