"""A primary with a synchronous standby is lost: what was acknowledged is on the standby, which takes its place."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic

from faults.clusters import Cluster, place_of
from faults.forms import Form
from faults.loads import Load
from faults.proxy import Proxy
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch
from writing import until


@asynccontextmanager
async def _standby(home: Path, primary: Cluster) -> AsyncIterator[Cluster]:
    """A standby without which the primary commits nothing."""
    made = Cluster(place_of(home / f"standby-of-{primary.port}"))
    try:
        await made.follow(primary)
        # Not sooner, since the copy takes the settings over: alone later, it is to wait for nobody.
        await primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        in_sync = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"
        await until(lambda: primary.value(in_sync), 30)
        yield made
    finally:
        await made.close()


async def test_the_standby_takes_over(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "failover to a synchronous standby, read-only at first"
    await _fail_over(home, cluster, trial, rounds=form.rounds(short=1, full=10), lonely=False)


async def test_the_standby_is_lost_before_the_primary(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "the synchronous standby away, then failover to it"
    await _fail_over(home, cluster, trial, rounds=form.rounds(short=1, full=10), lonely=True)


async def _fail_over(home: Path, cluster: Cluster, trial: Trial, *, rounds: int, lonely: bool) -> None:
    """Lose the primary again and again; if `lonely`, after it was without its standby for a while."""
    async with (
        AsyncExitStack() as standbys,
        Proxy(cluster.url) as proxy,
        Service(home, proxy.url, commit_timeout_seconds=1) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
    ):
        for _ in range(rounds):
            primary, standby = trial.cluster, await standbys.enter_async_context(_standby(home, trial.cluster))
            await load.acknowledged_more(random.randint(20, 100))
            if lonely:
                await standby.end(signal.SIGKILL)
                await until(partial(primary.value, "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)"))
                gone = monotonic()
                await load.refused_more(12)
                await asyncio.sleep(random.uniform(1, 4))
                assert load.last_acknowledged < gone + 1
            await primary.end(signal.SIGKILL)
            lost = monotonic()
            if lonely:
                await standby.start()
            proxy.retarget(standby.url)
            await load.refused_more(12)
            await watch.unready_after(lost)
            await standby.execute("SELECT pg_promote()")
            await trial.recovered(load, watch, monotonic())
            await primary.close()
            trial.cluster = standby
        await trial.settle(load)
        assert watch.live.keys() == {200}
    assert load.hung_up == 0
