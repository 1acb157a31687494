"""Retention takes away what is not to be kept, all of it and nothing else, and can be interrupted anywhere."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from percorso import ids
from percorso.http.services import Services
from percorso.ingest import enrich
from percorso.queries import retention as queries
from percorso.queries.retention import Count
from percorso.storage import partitions
from percorso.storage import retention as store
from percorso.storage.database import WriteSession, reading, writing
from percorso.storage.dropping import Leaving
from percorso.workers import retention
from percorso.workers.retention import SERVER, Outcome
from retaining import NOW, deletions, partitions_of, policy, retain
from support import Make, settings_for
from writing import Database, count, sender_ids, statuses, stopped, take, until

Item = dict[str, Any]

OTHERS = """
    INSERT INTO interactions (identity_id, id, received_at, touchpoint_id, channel, direction, document)
    SELECT md5(n::text)::uuid, (substr($1::uuid::text, 1, 13) || '-8' || substr(md5(n::text), 1, 3)
        || '-9' || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid,
        now(), 1, 'phone', 'inbound', '{}'
    FROM generate_series(1, $2::int) AS n
"""
"""So many interactions of other people at one moment."""

NO_RUN = (
    "SELECT count(*) = 0 FROM pg_stat_activity "
    "WHERE application_name = 'percorso-retention' AND datname = current_database()"
)


def days_ago(days: float, now: datetime = NOW) -> str:
    return (now - timedelta(days=days)).isoformat()


def some(make: Make, seed: int, number: int = 200, *, days: int = 200) -> list[Item]:
    """Interactions of the last days before NOW, on three channels, of a dozen customers."""
    chance = random.Random(seed)
    return [
        make(
            occurred_at=days_ago(chance.uniform(0, days)),
            channel=chance.choice(["phone", "web", "chat"]),
            customer={"email": f"c{chance.randrange(12)}@example.com"},
        )
        for _ in range(number)
    ]


def kept(items: Sequence[Item], now: datetime = NOW, **given: Any) -> list[str]:
    """The ids of those interactions that are to be kept."""
    cutoffs = policy(**given).cutoffs(now)
    return sorted(
        item["id"]
        for item in items
        if datetime.fromisoformat(item["occurred_at"]) >= cutoffs.get(item["channel"], queries.BEGINNING)
    )


async def counted(services: Services, **given: Any) -> list[Count]:
    async with reading(services.engine) as session:
        return [each async for each in queries.counts(session, policy(**given), NOW)]


async def test_months_go_as_a_whole_and_of_others_what_is_too_old(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    items = some(make, 1)
    await statuses(services, *items)
    assert len(await partitions_of(database, "interactions")) == 7
    outcome = await retain(database_url, retention_days=100)
    assert await partitions_of(database, "interactions") == [f"interactions_2026_0{n}" for n in range(3, 7)]
    assert await sender_ids(database) == kept(items, retention_days=100)
    assert outcome.partitions == 3
    assert outcome.interactions > 0
    assert outcome.bytes > 3 * 8192
    assert await retain(database_url, retention_days=100) == Outcome()


async def test_nothing_goes_where_nothing_is_said(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    items = some(make, 2)
    await statuses(services, *items, {"broken": 1})
    assert await retain(database_url) == Outcome()
    assert await sender_ids(database) == sorted(item["id"] for item in items)
    assert await count(database, "rejected_interactions") == 1
    assert await deletions(database) == []


POLICIES = (
    {"retention_days": 60},
    {"retention_days": 60, "retention_channel_days": {"web": 5, "phone": 120}},
    {"retention_channel_days": {"web": 30}},
    {"retention_channel_days": {"web": 90, "chat": 30}},
    {"retention_days": 1, "retention_channel_days": {"chat": 1000}},
)


@pytest.mark.parametrize("given", POLICIES)
async def test_the_dry_run_counts_what_then_goes(
    services: Services, database_url: str, database: Database, make: Make, given: Item
) -> None:
    items = some(make, 3)
    await statuses(services, *items)
    found = await counted(services, **given)
    left = set(kept(items, **given))
    gone: dict[tuple[str, str], int] = {}
    for item in items:
        if item["id"] not in left:
            key = f"interactions_{item['occurred_at'][:7].replace('-', '_')}", item["channel"]
            gone[key] = gone.get(key, 0) + 1
    assert {(each.month.name, each.channel): each.interactions for each in found} == gone
    assert all(0 < each.bytes <= each.month.size for each in found)
    assert await sender_ids(database) == sorted(item["id"] for item in items)
    outcome = await retain(database_url, **given)
    assert outcome.interactions == sum(each.interactions for each in found if not each.whole)
    assert outcome.partitions == len({each.month.name for each in found if each.whole})
    assert await sender_ids(database) == sorted(left)
    assert await counted(services, **given) == []


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_comes_late_and_however_the_settings_change_each_run_leaves_what_they_keep(
    services: Services, database_url: str, database: Database, make: Make, seed: int
) -> None:
    chance = random.Random(seed)
    here: list[Item] = []
    now = NOW
    for _ in range(8):
        new = some(make, chance.randrange(1000), 40)
        await statuses(services, *new)
        here += new
        given = chance.choice(POLICIES)
        now += timedelta(days=chance.choice([0, 0.5, 3, 40]))
        await retain(database_url, now=now, **given)
        left = kept(here, now, **given)
        assert await sender_ids(database) == left
        here = [item for item in here if item["id"] in left]


async def test_what_is_gone_does_not_come_back_and_its_revisions_are_gone(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    months = [make(occurred_at=days_ago(days), customer={"email": f"c{days}@example.com"}) for days in (200, 40, 1)]
    verdicts = await take(services, *months)
    for verdict in verdicts:
        assert verdict.interaction_id is not None
        async with writing(services.engine) as session:
            await enrich.enrich(
                session, verdict.interaction_id, b'{"text": "new"}', by="t", generation=1, max_bytes=9999
            )
    assert await count(database, "interaction_revisions") == 3
    outcome = await retain(database_url, retention_days=20)
    assert (outcome.partitions, outcome.interactions) == (1, 1)
    assert await database.fetchval("SELECT array_agg(interaction_id) FROM interaction_revisions") == [
        verdicts[2].interaction_id
    ]
    again = await take(services, *[item | {"text": "other"} for item in months])
    assert [verdict.status for verdict in again] == ["duplicate", "duplicate", "conflict"]
    assert [verdict.interaction_id for verdict in again] == [verdict.interaction_id for verdict in verdicts]
    assert await sender_ids(database) == [months[2]["id"]]


async def test_all_that_goes_is_named_by_the_commit_log(
    services: Services, database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.storage.retention._IDENTITIES_AT_ONCE", 5)
    monkeypatch.setattr("percorso.queries.retention._ROWS_AT_ONCE", 7)
    items = some(make, 4, days=60)
    await statuses(services, *items)
    facts = await database.fetch("SELECT id, identity_id, tableoid::regclass::text AS month FROM interactions")
    await retain(database_url, retention_days=20)
    left = {record["id"] for record in await database.fetch("SELECT id FROM interactions")}
    gone = [fact for fact in facts if fact["id"] not in left]
    rows = await deletions(database)
    single = [row for row in rows if row["interaction_ids"]]
    pairs = [pair for row in single for pair in zip(row["identity_ids"], row["interaction_ids"], strict=True)]
    of_may = [(fact["identity_id"], fact["id"]) for fact in gone if fact["month"] == "interactions_2026_05"]
    assert sorted(pairs) == sorted(of_may)
    assert all(len(row["interaction_ids"]) <= 7 for row in single)
    assert len(single) > 2
    whole = [row for row in rows if not row["interaction_ids"]]
    named = [identity for row in whole for identity in row["identity_ids"]]
    months = {"interactions_2026_04"}
    assert sorted(named) == sorted({fact["identity_id"] for fact in gone if fact["month"] in months})
    assert all(len(row["identity_ids"]) <= 5 for row in whole)

    def hours(ours: Sequence[Any]) -> set[datetime]:
        times = [ids.from_unix_ms(ids.occurred_ms(fact["id"].bytes)) for fact in ours]
        return {time.replace(minute=0, second=0, microsecond=0) for time in times}

    [last] = [row for row in whole if row["hours"]]
    assert set(last["hours"]) == hours([fact for fact in gone if fact["month"] in months])
    assert {hour for row in single for hour in row["hours"]} == hours(
        [fact for fact in gone if fact["month"] not in months]
    )
    assert {row["generation"] for row in rows} == {services.deployment.generation}


async def test_what_is_being_changed_while_it_is_passed_by_goes_with_the_next_run(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    [verdict, _] = await take(services, *[make(occurred_at=days_ago(40)) for _ in range(2)])
    assert verdict.interaction_id is not None
    async with writing(services.engine) as session:
        await enrich.enrich(session, verdict.interaction_id, b'{"text": "new"}', by="t", generation=1, max_bytes=9999)
        assert (await retain(database_url, retention_channel_days={"phone": 20})).interactions == 1
    assert await count(database, "interactions") == 1
    assert (await retain(database_url, retention_channel_days={"phone": 20})).interactions == 1
    assert await count(database, "interaction_revisions") == 0


async def test_a_commit_that_was_open_during_a_run_is_not_missed_by_the_next(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    await statuses(services, make(occurred_at=days_ago(41)))
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("LOCK TABLE identities IN EXCLUSIVE MODE")
    late = asyncio.create_task(
        statuses(services, make(occurred_at=days_ago(40), customer={"email": "late@example.com"}))
    )
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    await until(lambda: database.fetchval(waits))
    # Others commit after it began and before it ends.
    await database.execute("CREATE TABLE other ()")
    assert (await retain(database_url, retention_channel_days={"phone": 20})).interactions == 1
    await transaction.rollback()
    await holder.close()
    assert await late == ["stored"]
    assert (await retain(database_url, retention_channel_days={"phone": 20})).interactions == 1


async def test_refused_items_go_after_their_days(
    services: Services, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.storage.retention._REJECTED_AT_ONCE", 2)
    await statuses(services, *[{"broken": number} for number in range(5)])
    now = datetime.now(UTC)
    async with reading(services.engine) as session:
        later = policy(quarantine_days=3), now + timedelta(days=4)
        assert await queries.count_rejected(session, *later) == 5
        assert await queries.count_rejected(session, policy(), later[1]) == 0
    assert (await retain(database_url, now=now, quarantine_days=3)).rejected == 0
    assert (await retain(database_url, now=now + timedelta(days=4), quarantine_days=3)).rejected == 5
    assert await count(database, "rejected_interactions") == 0


async def test_the_commit_log_goes_day_by_day_but_never_beyond_what_its_followers_have_read(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    today = NOW.replace(hour=0)
    days = [today - timedelta(days=number) for number in range(20, 12, -1)]
    async with writing(services.engine) as session:
        await partitions.ensure_days(session, days)
    for number, day in enumerate(days):
        await database.execute(
            "INSERT INTO commits VALUES (1, $1::text::xid8, $2, 'stored', '{}', '{}', '{}')", str(100 + number), day
        )
    await database.execute(
        "INSERT INTO followers (name, generation, xid8) VALUES ('fast', 1, '500'), ('slow', 1, '102')"
    )
    outcome = await retain(database_url)
    assert outcome.commit_days == 3
    assert await partitions_of(database, "commits") == [f"commits_{day:%Y_%m_%d}" for day in days[3:]]
    await database.execute("UPDATE followers SET generation = 2, xid8 = '0'")
    assert (await retain(database_url)).commit_days == 3
    await database.execute("DELETE FROM followers")
    assert (await retain(database_url, commit_log_days=13)).commit_days == 1
    assert await partitions_of(database, "commits") == [f"commits_{days[-1]:%Y_%m_%d}"]
    assert await statuses(services, make()) == ["stored"]


async def test_two_runs_do_not_meet(services: Services, database_url: str, database: Database, make: Make) -> None:
    await statuses(services, *[make(occurred_at=days_ago(40)) for _ in range(3)])
    async with stopped(database_url, "commits"):
        first = asyncio.create_task(retain(database_url, retention_channel_days={"phone": 20}))
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'percorso-retention' "
            "AND wait_event_type = 'Lock' AND datname = current_database()"
        )
        await until(lambda: database.fetchval(waits))
        second = await retention.run(database_url, settings_for(database_url), policy(retention_days=1), NOW)
    assert second is None
    assert (await first).interactions == 3


async def test_a_run_that_is_ended_anywhere_is_finished_by_the_next(
    services: Services, database_url: str, database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("percorso.storage.retention._IDENTITIES_AT_ONCE", 3)
    monkeypatch.setattr("percorso.queries.retention._ROWS_AT_ONCE", 5)
    items = some(make, 5)
    await statuses(services, *items)
    given: Item = {"retention_days": 60, "retention_channel_days": {"web": 10}}
    with capture_logs():
        for step in range(1, 200):
            running = asyncio.create_task(retain(database_url, **given))
            done, _ = await asyncio.wait({running}, timeout=0.01 * step)
            if done:
                break
            running.cancel()
            await asyncio.wait({running})
            await until(lambda: database.fetchval(NO_RUN))
            await statuses(services, make(occurred_at=days_ago(150)))
    assert step > 3
    assert running.result() is not None
    assert await sender_ids(database) == kept(items, **given)
    await retain(database_url, **given)
    assert await sender_ids(database) == kept(items, **given)
    assert not [name for name in await partitions_of(database, "interactions") if name.endswith("_leaving")]
    assert await count(database, "retention_drops") == 0
    named = {identity for row in await deletions(database) for identity in row["identity_ids"]}
    assert named == {record["identity_id"] for record in await database.fetch("SELECT identity_id FROM identities")}


async def test_what_goes_is_found_by_indexes_however_much_stays(
    services: Services, database_url: str, database: Database, make: Make
) -> None:
    items = some(make, 6, 1000, days=10)
    await statuses(services, *items)
    await database.execute(OTHERS, ids.first_id_at(NOW - timedelta(days=10)), 20_000)
    await database.execute("ANALYZE")
    pairs = await database.fetch(
        "SELECT identity_id, id FROM interactions WHERE document->>'id' IS NOT NULL LIMIT 1000"
    )
    month = Leaving("interactions", "interactions_2026_06", NOW, NOW)
    session = WriteSession(await asyncpg.connect(database_url, server_settings=SERVER))
    seen: list[Any] = []
    session.add_query_logger(seen.append)
    low, high = ids.first_id_at(datetime(2026, 6, 1, tzinfo=UTC)), ids.first_id_at(datetime(2026, 7, 1, tzinfo=UTC))
    assert await store.delete(session, 1, [tuple(pair) for pair in pairs], low, high) == len(pairs)
    await database.execute("ALTER TABLE interactions DETACH PARTITION interactions_2026_06")
    await database.execute("ALTER TABLE interactions_2026_06 RENAME TO interactions_2026_06_leaving")
    async for number in store.empty(session, 1, month):
        assert number == 5000
        break
    await asyncio.sleep(0)
    looked = [record for record in seen if "interactions" in record.query and "pg_class" not in record.query]
    assert len(looked) == 2
    [deletes, reads] = looked
    plan = await session.fetch(f"EXPLAIN {reads.query}", *reads.args)
    assert "Index Only Scan" in str(plan)
    await database.execute("ALTER TABLE interactions_2026_06_leaving RENAME TO interactions_2026_06")
    await database.execute(
        f"ALTER TABLE interactions ATTACH PARTITION interactions_2026_06 FOR VALUES FROM ('{low}') TO ('{high}')"
    )
    plan = await session.fetch(f"EXPLAIN {deletes.query}", *deletes.args)
    await session.close()
    assert "interactions_2026_06_pkey" in str(plan)
    assert "Seq Scan" not in str(plan)
