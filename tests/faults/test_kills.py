"""Processes are killed at random moments under load: the service, one of its workers, the database's."""

import asyncio
import random
from pathlib import Path
from time import monotonic

from faults.clusters import Cluster
from faults.conftest import Form
from faults.loads import Load
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch


async def test_the_service_is_killed(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "`kill -9` of the service"
    async with Service(home, cluster.url) as service, Load([service.port], trial.ledger) as load:
        async with Watch(service.port) as watch:
            for _ in range(form.rounds(short=3, full=100)):
                await asyncio.sleep(random.uniform(0.1, 1.0))
                await service.kill()
                restarted = monotonic()
                service.launch()
                await trial.recovered(load, watch, restarted)
        await trial.settle(load)
