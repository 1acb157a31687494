"""Postgres is there and does not take writes: no connections left, read-only, locked, slow."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import asyncpg
import pytest

from faults.clusters import Cluster
from faults.forms import Form
from faults.loads import Load
from faults.reads import Reads
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch
from writing import until

_COMMIT_SECONDS = 1
"""How long a group commit may take here, so that a round need not take minutes."""


_END_THE_SERVICES = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name LIKE 'percorso%' AND pid <> pg_backend_pid()"
)
_LEFT = (
    "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int "
    "- count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
)


@asynccontextmanager
async def _no_connections_left(cluster: Cluster) -> AsyncIterator[None]:
    """Others have all the connections that a role without privileges can get, and the service has none."""
    async with AsyncExitStack() as stack, cluster.admin() as admin:

        async def take() -> None:
            while True:
                try:
                    other = await asyncpg.connect(cluster.url, timeout=5)
                except (OSError, asyncpg.TooManyConnectionsError):
                    await asyncio.sleep(0.01)
                else:
                    stack.callback(other.terminate)

        takers = [asyncio.create_task(take()) for _ in range(8)]
        try:

            async def they_have_all() -> bool:
                ended: int = await admin.fetchval(_END_THE_SERVICES)
                left: int = await admin.fetchval(_LEFT)
                return ended == 0 and left <= 0

            await until(they_have_all, 60)
        finally:
            for taker in takers:
                taker.cancel()
            await asyncio.gather(*takers, return_exceptions=True)
        yield


@asynccontextmanager
async def _read_only(cluster: Cluster) -> AsyncIterator[None]:
    async def switch(value: str) -> None:
        async with cluster.admin() as admin:
            await admin.execute("SET default_transaction_read_only = off")
            await admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            await admin.execute("SELECT pg_reload_conf()")

    await switch("on")
    try:
        yield
    finally:
        await switch("off")


@pytest.mark.parametrize(
    ("kind", "outage"),
    [("Postgres out of connections", _no_connections_left), ("Postgres read-only", _read_only)],
)
async def test_postgres_refuses_the_service(
    home: Path,
    cluster: Cluster,
    form: Form,
    trial: Trial,
    kind: str,
    outage: Callable[[Cluster], AbstractAsyncContextManager[None]],
) -> None:
    trial.row.kind = kind
    async with (
        Service(home, cluster.url) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
        Reads(service.port, trial.ledger) as reads,
    ):
        for _ in range(form.rounds(short=1, full=15)):
            await load.acknowledged_more(random.randint(1, 50))
            async with outage(cluster):
                begun = monotonic()
                await load.refused_more(12)
                await watch.unready_after(begun)
                refused_since = monotonic()
                await asyncio.sleep(random.uniform(0, form.seconds(short=1, full=4)))
                assert load.last_acknowledged < refused_since
            await trial.recovered(load, watch, monotonic())
        await trial.settle(load)
        assert watch.live.keys() == {200}
        assert not reads.unexpected, reads.unexpected[:3]
    assert load.hung_up == 0


@pytest.mark.parametrize("lock_timeout", [None, "200ms"])
async def test_a_partition_is_locked(
    home: Path, cluster: Cluster, form: Form, trial: Trial, lock_timeout: str | None
) -> None:
    trial.row.kind = "a month's partition locked" + (f", `lock_timeout` {lock_timeout}" if lock_timeout else "")
    if lock_timeout is not None:
        await cluster.execute(f"ALTER ROLE percorso SET lock_timeout = '{lock_timeout}'")
    async with (
        Service(home, cluster.url, commit_timeout_seconds=_COMMIT_SECONDS) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
    ):
        await load.acknowledged_more(50)
        for number in range(form.rounds(short=1, full=15)):
            async with cluster.admin() as admin, admin.transaction():
                # Not one that was made ahead, which nobody waits for.
                months = await admin.fetch("SELECT DISTINCT tableoid::regclass::text FROM interactions")
                [month] = random.choice(months)
                await admin.execute(f"LOCK TABLE {month} IN ACCESS EXCLUSIVE MODE")
                # Once shorter than the service is patient, once longer.
                if number % 2:
                    await asyncio.sleep(random.uniform(0, _COMMIT_SECONDS))
                else:
                    begun = monotonic()
                    await load.refused_more(12)
                    await watch.unready_after(begun)
            await trial.recovered(load, watch, monotonic())
        await trial.settle(load)
        assert watch.live.keys() == {200}
    assert load.hung_up == 0


_SLOW = """
CREATE TABLE slowness (what text, seconds float);
INSERT INTO slowness VALUES ('interaction_keys', 0), ('interactions', 0), ('identities', 0);
GRANT SELECT ON slowness TO percorso;
CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(seconds) FROM slowness WHERE what = TG_TABLE_NAME;
    RETURN NULL;
END $$;
CREATE TRIGGER slow BEFORE INSERT ON interaction_keys FOR EACH STATEMENT EXECUTE FUNCTION be_slow();
CREATE TRIGGER slow BEFORE INSERT ON interactions FOR EACH STATEMENT EXECUTE FUNCTION be_slow();
CREATE TRIGGER slow BEFORE INSERT ON identities FOR EACH STATEMENT EXECUTE FUNCTION be_slow();
"""
_TABLES = ("interactions", "interaction_keys", "identities")


async def test_a_statement_is_slow(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "a statement slower than a commit may be"
    await cluster.execute(_SLOW)
    async with (
        Service(home, cluster.url, commit_timeout_seconds=_COMMIT_SECONDS) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
    ):
        await load.acknowledged_more(50)
        for number in range(form.rounds(short=1, full=15)):
            table = _TABLES[number % len(_TABLES)]
            # Slow alone is no failure: it is stored, and acknowledged.
            await _slow_down(cluster, table, 0.3)
            await load.acknowledged_after(monotonic() + 0.5)
            await _slow_down(cluster, table, 1.5)
            begun = monotonic()
            await load.refused_more(12)
            await watch.unready_after(begun)
            await _slow_down(cluster, table, 0)
            await trial.recovered(load, watch, monotonic())
        await trial.settle(load)
        assert watch.live.keys() == {200}
    assert load.hung_up == 0


async def _slow_down(cluster: Cluster, table: str, seconds: float) -> None:
    async with cluster.admin() as admin:
        await admin.execute("UPDATE slowness SET seconds = $2 WHERE what = $1", table, seconds)
