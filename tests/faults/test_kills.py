"""Processes are killed at random moments under load: the service, one of its workers, the database's."""

import asyncio
import os
import random
import signal
from functools import partial
from pathlib import Path
from time import monotonic

from faults.clusters import Cluster
from faults.forms import Form
from faults.loads import Load
from faults.reads import Reads
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch
from writing import until


async def _a_while() -> None:
    """Any moment will do: the faults are to fall into whatever is going on."""
    await asyncio.sleep(random.uniform(0.1, 1.0))


def _is_gone(service: Service, worker: int) -> bool:
    return worker not in service.workers()


async def _all_write(cluster: Cluster, workers: int) -> bool:
    """Whether so many workers are up, each with its one writing connection."""
    return len(await cluster.backends()) == workers


async def test_the_service_is_killed(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "`kill -9` of the service"
    async with (
        Service(home, cluster.url) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
    ):
        for _ in range(form.rounds(short=2, full=100)):
            await _a_while()
            await service.kill()
            restarted = monotonic()
            service.launch()
            await trial.recovered(load, watch, restarted)
        await trial.settle(load)
    assert load.hung_up > 0


async def test_a_worker_is_killed(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "`kill -9` of one of three workers"
    replaced = []
    async with (
        Service(home, cluster.url, workers=3, commit_connections=1) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
    ):
        await until(partial(_all_write, cluster, 3), 60)
        for _ in range(form.rounds(short=2, full=60)):
            await _a_while()
            victim = random.choice(service.workers())
            os.kill(victim, signal.SIGKILL)
            killed = monotonic()
            await until(partial(_is_gone, service, victim))
            await trial.recovered(load, watch, killed)
            await until(partial(_all_write, cluster, 3), 60)
            replaced.append(monotonic() - killed)
        await trial.settle(load)
        # Who asks one after the other meets a worker that dies once at most each time: the others go on.
        assert watch.live[None] <= trial.row.rounds
        assert watch.live.keys() <= {200, None}
    trial.row.remark = f"replaced after at most {max(replaced):.1f} s"


async def test_the_writers_backend_is_killed(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "`kill -9` of the writer's Postgres backend"
    async with (
        Service(home, cluster.url) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
    ):
        for _ in range(form.rounds(short=2, full=80)):
            await _a_while()
            await until(cluster.backends)
            os.kill(random.choice(await cluster.backends()), signal.SIGKILL)
            await trial.recovered(load, watch, monotonic())
        await trial.settle(load)
        assert watch.live.keys() == {200}
    assert load.hung_up == 0


async def test_the_database_is_killed(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "Postgres killed (SIGQUIT, SIGKILL), started again"
    async with (
        Service(home, cluster.url) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
        Reads(service.port, trial.ledger) as reads,
    ):
        for number in range(form.rounds(short=2, full=60)):
            await _a_while()
            await cluster.end((signal.SIGQUIT, signal.SIGKILL)[number % 2])
            ended = monotonic()
            # Sometimes it is back before the service gives up a group, sometimes not.
            if number % 3 == 0:
                await load.refused_more(12)
                await watch.unready_after(ended)
            else:
                await asyncio.sleep(random.uniform(0, 1))
            await cluster.start()
            await trial.recovered(load, watch, monotonic())
        await trial.settle(load)
        assert watch.live.keys() == {200}
        assert not reads.unexpected, reads.unexpected[:3]
    assert load.hung_up == 0
