"""The way to Postgres is cut, stalled, or open in one direction only, at any point of what is said on it."""

import asyncio
import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Final

import pytest

from faults.clusters import Cluster
from faults.forms import Form
from faults.loads import Load
from faults.proxy import POINTS, Action, Fault, Proxy
from faults.reads import Reads
from faults.report import Trial
from faults.servers import Service
from faults.watch import Watch

_SETTINGS: Final[dict[str, Any]] = {
    "commit_timeout_seconds": 1,
    "connect_timeout_seconds": 1,
    "statement_timeout_seconds": 1,
    "pool_size": 4,
}
_WITHIN_BYTES: Final = 60_000
"""A fault at a byte strikes within about two groups of the load."""


@pytest.mark.parametrize(
    ("kind", "actions"),
    [
        ("connection to Postgres cut", ("reset", "close")),
        ("connection to Postgres stalled", ("stall",)),
        ("connection to Postgres half-open", ("deaf", "mute")),
    ],
)
async def test_the_connection_to_postgres_fails(
    home: Path, cluster: Cluster, form: Form, trial: Trial, kind: str, actions: Sequence[Action]
) -> None:
    trial.row.kind = kind
    reads_again = []
    async with (
        Proxy(cluster.url) as proxy,
        Service(home, proxy.url, **_SETTINGS) as service,
        Load([service.port], trial.ledger) as load,
    ):
        async with Reads(service.port, trial.ledger) as reads, Watch(service.port) as watch:
            for number in range(form.rounds(short=1, full=10) * len(POINTS)):
                await asyncio.sleep(random.uniform(0, 0.5))
                point = POINTS[number % len(POINTS)]
                # Each round of the points begins with another action, so that all pairs come up.
                action = actions[(number + number // len(POINTS)) % len(actions)]
                proxy.arm(Fault(action, point, random.randrange(_WITHIN_BYTES)))
                async with asyncio.timeout(30):
                    await proxy.struck.wait()
                # Mostly shorter than the tries of a commit last, sometimes longer, so that it is given up.
                await asyncio.sleep(random.choice([0, 0.3, 1.2, 2.5] if form.short else [0, 0.3, 1.2, 2.5, 5, 12]))
                proxy.heal()
                healed = monotonic()
                await trial.recovered(load, watch, healed)
                reads_again.append(await reads.all_after(healed))
        await trial.settle(load)
    trial.row.remark = f"reads again after {median(reads_again):.2f} s, at most {max(reads_again):.2f}"
    assert {point for _, point in proxy.strikes} == set(POINTS)
    assert form.short or set(proxy.strikes) == set(product(actions, POINTS))
    assert reads.unexpected == []
    assert set(watch.live) == {200}
