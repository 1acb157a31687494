"""The same ids are sent to several processes at once, through every format: stored once, and said to be so once."""

import asyncio
import random
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from faults.clients import Connection
from faults.clusters import Cluster
from faults.formats import FORMATS, Format
from faults.forms import Form
from faults.report import Trial
from faults.servers import Service

_EVENTS: Final = 60
_ARRAY: Final = Format("array", "identity")


@pytest.mark.parametrize("processes", [2, 4])
async def test_the_same_ids_through_every_format_at_once(
    home: Path, cluster: Cluster, form: Form, trial: Trial, processes: int
) -> None:
    trial.row.kind = f"the same ids to {processes} processes at once, through {len(FORMATS)} formats"
    said: defaultdict[int, Counter[str]] = defaultdict(Counter)
    interactions: defaultdict[int, set[str]] = defaultdict(set)

    async def send(port: int, format_: Format, numbers: list[int]) -> None:
        mixed = random.sample(numbers, len(numbers))
        async with Connection(port) as connection:
            results = await format_.send(connection, [trial.ledger.event(number) for number in mixed])
        for number, result in zip(mixed, results, strict=True):
            trial.ledger.acknowledge(number, result["status"])
            said[number][result["status"]] += 1
            interactions[number].add(result["interaction_id"])

    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(Service(home, cluster.url)) for _ in range(processes)]
        for _ in range(form.rounds(short=3, full=50)):
            numbers = trial.ledger.new(_EVENTS)
            async with asyncio.TaskGroup() as tasks:
                for service in services:
                    for format_ in FORMATS:
                        tasks.create_task(send(service.port, format_, numbers))
            trial.row.rounds += 1
        await trial.account()
        views = [await _view(service.port, trial) for service in services]
    once = Counter(stored=1, duplicate=processes * len(FORMATS) - 1)
    assert {number: counts for number, counts in said.items() if counts != once} == {}
    assert [views[0][number][0] for number in range(trial.ledger.sent)] == [
        next(iter(interactions[number])) for number in range(trial.ledger.sent)
    ]
    assert {number for number, ids in interactions.items() if len(ids) > 1} == set()
    assert all(view == views[0] for view in views)
    trial.row.remark = f"{sum(counts.total() for counts in said.values()):,} verdicts, customers equal"


async def _view(port: int, trial: Trial) -> list[tuple[str, str]]:
    """The interaction and the customer of each event, as this process has them now."""
    async with Connection(port) as connection:
        results: list[dict[str, Any]] = await _ARRAY.send(
            connection, [trial.ledger.event(number) for number in range(trial.ledger.sent)]
        )
    assert {result["status"] for result in results} == {"duplicate"}
    return [(result["interaction_id"], result["customer_id"]) for result in results]
