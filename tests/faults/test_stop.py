"""SIGTERM under load: what was accepted is answered, what was acknowledged is stored, and the process ends well."""

import asyncio
import random
from pathlib import Path
from time import monotonic

import pytest

from faults.clusters import Cluster
from faults.forms import Form
from faults.loads import Load
from faults.report import Trial
from faults.servers import Service, status
from writing import stopped, until

_DRAIN_SECONDS = 10


@pytest.mark.parametrize("workers", [1, 3])
async def test_the_service_is_stopped_under_load(
    home: Path, cluster: Cluster, form: Form, trial: Trial, workers: int
) -> None:
    trial.row.kind = f"SIGTERM under load, {workers} worker{'s' if workers > 1 else ''}"
    ends = []
    service = Service(home, cluster.url, workers=workers, drain_seconds=_DRAIN_SECONDS)
    async with service, Load([service.port], trial.ledger) as load:
        for _ in range(form.rounds(short=1 if workers > 1 else 2, full=30)):
            await asyncio.sleep(random.uniform(0.2, 1.0))
            stopping = monotonic()
            assert await service.terminate(_DRAIN_SECONDS) == 0, service.log()
            ends.append(monotonic() - stopping)
            restarted = monotonic()
            service.launch()
            await trial.recovered(load, None, restarted)
            await service.ready()
        await trial.settle(load)
    trial.row.remark = f"ended with status 0 after at most {max(ends):.1f} s"


async def test_a_stop_waits_for_commits_and_answers_everything(
    home: Path, cluster: Cluster, form: Form, trial: Trial
) -> None:
    trial.row.kind = "SIGTERM while every client waits for a commit"
    async with Service(home, cluster.url, drain_seconds=_DRAIN_SECONDS) as service:
        for _ in range(form.rounds(short=2, full=20)):
            async with Load([service.port], trial.ledger, clients=24) as load:
                await load.acknowledged_more(24)
                async with stopped(cluster.admin_url):
                    await _all_wait(service, load, 24)
                    answered = sum(load.statuses.values())
                    stop = asyncio.create_task(load.stop())
                    end = asyncio.create_task(service.terminate(_DRAIN_SECONDS))
                    await until(lambda: _refuses_connections(service))
                await stop
                assert await end == 0, service.log()
                assert sum(load.statuses.values()) == answered + 24
                assert load.hung_up == 0
                assert load.unexpected == []
            restarted = monotonic()
            await service.start()
            trial.row.readies.append(monotonic() - restarted)
            trial.row.rounds += 1
        async with Load([service.port], trial.ledger, retry=False) as load:
            await trial.settle(load)


async def test_a_stop_ends_in_time_though_the_database_does_not_answer(
    home: Path, cluster: Cluster, form: Form, trial: Trial
) -> None:
    trial.row.kind = "SIGTERM while a lock in the database is never released"
    ends = []
    async with Service(home, cluster.url, drain_seconds=_DRAIN_SECONDS) as service:
        for _ in range(form.rounds(short=1, full=5)):
            async with Load([service.port], trial.ledger) as load:
                await load.acknowledged_more(24)
                async with stopped(cluster.admin_url):
                    await _all_wait(service, load, 12)
                    stop = asyncio.create_task(load.stop())
                    stopping = monotonic()
                    # A second for what an interpreter does at its end.
                    assert await service.terminate(_DRAIN_SECONDS + 1) == 0, service.log()
                    ends.append(monotonic() - stopping)
                    await stop
                assert load.hung_up == 0
                assert load.unexpected == []
            restarted = monotonic()
            await service.start()
            trial.row.readies.append(monotonic() - restarted)
            trial.row.rounds += 1
        async with Load([service.port], trial.ledger, retry=False) as load:
            await trial.settle(load)
    trial.row.remark = f"ended with status 0 after at most {max(ends):.1f} s"


async def _all_wait(service: Service, load: Load, clients: int) -> None:
    """Wait until this many requests are with the service, none of which it answers."""
    answered = -1
    while load.flying < clients or answered != sum(load.statuses.values()):
        answered = sum(load.statuses.values())
        # What was sent before these questions is read before they are answered.
        for _ in range(20):
            assert await status(service.port, "/health/live") == 200


async def _refuses_connections(service: Service) -> bool:
    return await status(service.port, "/health/live") is None
