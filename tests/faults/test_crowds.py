"""Clients that hold connections and send next to nothing: everybody else is served as if they were not there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from faults.clients import Connection, head
from faults.clusters import Cluster
from faults.forms import Form
from faults.probes import Probe, many_files, peak_mib
from faults.report import Trial
from faults.servers import Service

_IDLE: Final = 2_000
_SLOW: Final = 300
_FILES: Final = 6_000
_PROBES: Final = 50
_MOST_MIB: Final = 300
_RECEIVE_SECONDS: Final = 3
_LATEST_SECONDS: Final = 0.5
"""What 99 of 100 others wait at most: far less than a crowd's bytes are apart, so none of them is waited for."""


async def test_idle_connections_are_held_open(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = f"{_IDLE:,} idle connections held open"
    with many_files(_FILES):
        async with Service(home, cluster.url) as service, Probe(service.port, trial.ledger) as probe:
            idle = [Connection(service.port) for _ in range(_IDLE)]
            try:
                for number, connection in enumerate(idle):
                    if number % 2:
                        assert (await connection.ask("GET", "/health/live")).status == 200
                    else:
                        await connection.open()
                for _ in range(form.rounds(short=1, full=10)):
                    since = probe.taken()
                    await probe.more(_PROBES)
                    trial.row.rounds += 1
                    assert probe.p99(since=since) < _LATEST_SECONDS
                for connection in idle[1::2]:
                    assert (await connection.ask("GET", "/health/live")).status == 200
            finally:
                for connection in idle:
                    connection.close()
            peak = peak_mib(service.pid)
    assert set(probe.statuses) == {201}
    assert peak < _MOST_MIB
    trial.row.remark = f"others' p99 {probe.p99() * 1000:.0f} ms, at most {peak:.0f} MiB"
    await trial.account()


@pytest.mark.parametrize("part", ["bodies", "headers"])
async def test_slow_clients_hold_up_nobody(home: Path, cluster: Cluster, form: Form, trial: Trial, part: str) -> None:
    trial.row.kind = f"{_SLOW} clients send {part} at a byte a second"
    answers: Counter[int] = Counter()
    request = head("POST", "/v1/interactions", 1_000, content_type="application/json")
    at_once, slowly = (request, b" " * 1_000) if part == "bodies" else (request[:20], request[20:])

    async def slow(port: int) -> None:
        while True:
            async with Connection(port) as connection:
                way = await connection.open()
                way.write(at_once)
                answer = asyncio.create_task(connection.answer())
                try:
                    for at in range(len(slowly)):
                        await asyncio.wait([answer], timeout=1)
                        if answer.done():
                            break
                        way.write(slowly[at : at + 1])
                    answers[(await answer).status] += 1
                except (OSError, asyncio.IncompleteReadError):
                    answers[0] += 1
                finally:
                    answer.cancel()

    with many_files(_FILES):
        async with (
            Service(home, cluster.url, receive_timeout_seconds=_RECEIVE_SECONDS) as service,
            Probe(service.port, trial.ledger) as probe,
            _company(slow(service.port) for _ in range(_SLOW)),
        ):
            for _ in range(form.rounds(short=1, full=12)):
                since = probe.taken()
                await asyncio.sleep(_RECEIVE_SECONDS + 2)
                trial.row.rounds += 1
                assert probe.p99(since=since) < _LATEST_SECONDS
            peak = peak_mib(service.pid)
    assert set(probe.statuses) == {201}
    # Who is slow is let go, and comes again: with 408, where enough came to be answered.
    let_go = 408 if part == "bodies" else 0
    assert set(answers) == {let_go}
    assert answers[let_go] >= _SLOW * trial.row.rounds
    assert peak < _MOST_MIB
    trial.row.remark = (
        f"others' p99 {probe.p99() * 1000:.0f} ms, at most {peak:.0f} MiB, {answers[let_go]:,} times let go"
    )
    await trial.account()


@asynccontextmanager
async def _company(clients: Iterable[Coroutine[object, object, None]]) -> AsyncIterator[None]:
    """All of these, until the block ends."""
    tasks = [asyncio.create_task(client) for client in clients]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
