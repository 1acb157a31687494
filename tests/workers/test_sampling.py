"""What the metrics say of the database and of each process: found out beside requests, and unsaid when it is not so."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.http.services import Services
from percorso.queries import condition
from percorso.storage.database import create_engine, reading
from percorso.workers import partitions, sampling
from percorso.workers.runtime import Runtime, Worker
from percorso.workers.vitals import felt
from support import Make, running, settings_for
from writing import Database, take, until


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    made = create_engine(database_url, settings_for(database_url))
    yield made
    await made.dispose()


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"percorso_{name}", labels)


def name_of(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


async def test_how_full_and_how_stale_the_database_is_stands_in_the_metrics(
    services: Services, database: Database, database_url: str, make: Make
) -> None:
    await take(services, make(), make(), {"broken": 1})
    await partitions.ensure_ahead(services.engine, datetime.now(UTC))
    await database.execute(
        "INSERT INTO followers VALUES ('rollups', 1, '1', NULL), ('feed:a', 1, '1', NULL), "
        "('feed:b', 1, pg_current_xact_id(), '00000000-0000-0000-0000-000000000000')"
    )
    await database.execute(
        "INSERT INTO subscriptions SELECT gen_random_uuid(), 'tmf683', 'http://a.test', NULL, 's', key_id, now(), 0, "
        "now() FROM api_keys"
    )
    await database.execute(
        "INSERT INTO deliveries (delivery_id, subscription_id, event, at, interaction_id, revision, refusals) "
        "SELECT gen_random_uuid(), subscription_id, 'e', now() - n * interval '100 s', gen_random_uuid(), 0, 0 "
        "FROM subscriptions, generate_series(3, 1, -1) AS n"
    )
    worker = sampling.worker(services.engine)
    assert await worker.run() is False
    name = name_of(database_url)
    size = await database.fetchval("SELECT pg_database_size(current_database())")
    assert value("database_bytes", database=name) == pytest.approx(size, rel=0.2)
    connections = value("database_connections", database=name)
    limit = value("database_connections_limit", database=name)
    assert connections is not None
    assert limit is not None
    assert 3 <= connections < limit
    assert abs(value("database_clock_ahead_seconds", database=name) or 0.0) < 1
    assert value("quarantine_items", database=name) == 1
    days, months = value("partition_days_left", table="commits"), value("partition_days_left", table="interactions")
    assert days is not None
    assert months is not None
    assert 2 <= days <= 3
    assert months > 27
    commits = await database.fetchval("SELECT count(*) FROM commits")
    assert value("follower_lag_commits", follower="rollups") == commits > 0
    assert (value("follower_lag_seconds", follower="rollups") or 0) > 0
    assert value("follower_filling", follower="rollups") == 0
    # Of followers that have one name before the colon, the one that is furthest behind.
    assert value("follower_lag_commits", follower="feed") == commits
    assert value("follower_lag_commits", follower="feed:a") is None
    assert value("deliveries_waiting", protocol="tmf683") == 3
    assert value("deliveries_oldest_seconds", protocol="tmf683") == pytest.approx(300, abs=60)
    await database.execute("DELETE FROM followers WHERE name LIKE 'feed:%'")
    await worker.run()
    assert isnan(value("follower_lag_commits", follower="feed") or 0)
    assert value("follower_lag_commits", follower="rollups") == commits
    assert worker.ended is not None
    worker.ended()
    for gone in (value("database_bytes", database=name), value("partition_days_left", table="commits")):
        assert gone is not None
        assert isnan(gone)


async def test_a_transaction_that_stays_open_shows_its_age(engine: AsyncEngine, database: Database) -> None:
    async with reading(engine) as session:
        async with database.transaction():
            await database.execute("SELECT pg_current_xact_id()")
            await asyncio.sleep(0.05)
            server = await condition.server(session)
        assert server.oldest >= 0.05
        assert server.oldest_pid is not None


async def test_the_disk_is_told_of_a_cluster_on_this_machine_only(tmp_path: Path) -> None:
    assert sampling.disk_of(None) is None
    assert sampling.disk_of(str(tmp_path / "nowhere")) is None
    assert sampling.disk_of(str(tmp_path)) is None
    (tmp_path / "PG_VERSION").write_text("18")
    disk = sampling.disk_of(str(tmp_path))
    assert disk is not None
    assert 0 < disk.free < disk.size


async def test_a_worker_is_told_when_its_process_leads_it_no_more(database_url: str) -> None:
    ran, ended = asyncio.Event(), []

    async def run() -> bool:
        ran.set()
        return False

    made = Runtime(
        database_url,
        settings_for(database_url),
        [Worker("test", 60, run, lambda: ended.append(True)), Worker("other", 60, run)],
        beat_seconds=0.02,
    )
    await made.start()
    async with asyncio.timeout(10):
        await ran.wait()
    assert ended == []
    await made.stop()
    assert ended == [True]


async def test_each_process_says_how_it_feels(engine: AsyncEngine) -> None:
    computed = value("process_cpu_seconds_total") or 0
    lent = await engine.raw_connection()
    async with felt({"reading": engine}, lambda: 17, schema="the-schema"):
        await until(lambda: (value("process_cpu_seconds_total") or 0) > computed)
        assert value("pool_connections_used", pool="reading") == 1
        assert value("pool_connections_limit", pool="reading") == 10
        assert value("audit_waiting") == 17
        assert (value("process_resident_bytes") or 0) > 10_000_000
        assert 0 < (value("process_open_files") or 0) < (value("process_open_files_limit") or 0)
    lent.close()
    builds = [
        sample for metric in REGISTRY.collect() for sample in metric.samples if sample.name == "percorso_build_info"
    ]
    assert any(sample.labels["schema"] == "the-schema" and sample.value == 1 for sample in builds)


async def test_a_service_with_workers_tells_all_of_it_when_asked_for_metrics(database_url: str) -> None:
    async with running(database_url, background_workers=True) as (_, client):

        async def told() -> bool:
            text = (await client.get("/metrics")).text
            name = name_of(database_url)
            wanted = (
                f'percorso_database_bytes{{database="{name}"}}',
                "percorso_pool_connections_limit",
                "percorso_build_info",
            )
            return all(each in text for each in wanted)

        await until(told)
