"""The wall clock of the service jumps, forward and back, by minutes to hours."""

import json
import random
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic

from faults.clients import Connection
from faults.clusters import Cluster
from faults.forms import Form
from faults.ledger import Ledger
from faults.loads import Load
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch
from writing import until

_MOST_SECONDS = 20 * 3600
"""Less than an interaction may lie in the future: those of the load are to stay valid whatever the clock says."""


async def test_the_clock_is_stepped(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "the service's clock stepped by minutes to hours"
    off = home / "off"
    _step(off, 0)
    command = (sys.executable, str(Path(__file__).with_name("stepped.py")), str(off))
    async with (
        Service(home, cluster.url, command=command) as service,
        Watch(service.port) as watch,
        Load([service.port], trial.ledger) as load,
    ):
        for number in range(form.rounds(short=4, full=100)):
            await load.acknowledged_more(random.randint(1, 30))
            seconds = random.uniform(60, random.choice([3600, _MOST_SECONDS])) * (1, -1)[number % 2]
            _step(off, seconds)
            stepped_at = monotonic()
            await until(partial(_is_off, service.port, trial.ledger, seconds))
            await trial.recovered(load, watch, stepped_at)
        await trial.settle(load)
        assert watch.live.keys() == {200}
        # No step is a reason to refuse anything.
        assert load.statuses.keys() == {200, 201}
    assert load.hung_up == 0


def _step(file: Path, seconds: float) -> None:
    new = file.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(file)


async def _is_off(port: int, ledger: Ledger, seconds: float) -> bool:
    """Whether the service's clock is so far from the true one: asked by storing an event."""
    [number] = ledger.new(1)
    async with Connection(port) as connection:
        answer = await connection.ask("POST", "/v1/interactions", ledger.event(number), content_type="application/json")
    said = json.loads(answer.body)
    ledger.acknowledge(number, said["status"])
    return abs((datetime.fromisoformat(said["received_at"]) - datetime.now(UTC)).total_seconds() - seconds) < 30
