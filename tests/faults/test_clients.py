"""Clients that fail: they time out and repeat, or hang up in the middle of what they send."""

import asyncio
import random
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from faults.clients import Connection, head
from faults.clusters import Cluster
from faults.formats import FORMATS, Format
from faults.forms import Form
from faults.loads import Load
from faults.probes import peak_mib
from faults.proxy import Fault, Point, Proxy
from faults.report import Trial
from faults.servers import Service

_CLIENTS: Final = 12
_IMPATIENT_SECONDS: Final = 0.3
_EVENTS: Final = 40
_STALLS: Final[tuple[Point, ...]] = ("before", "during", "after")
_MOST_MIB: Final = 300
"""What a service may hold at most: as much as the stream of a million lines may cost it."""
_ARRAY: Final = Format("array", "identity")


async def test_clients_time_out_and_repeat(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "clients time out in a stalled commit, and repeat"
    repeats = 0
    ending = asyncio.Event()

    async def client(port: int) -> None:
        nonlocal repeats
        async with Connection(port) as connection:
            while not ending.is_set():
                format_ = random.choice(FORMATS)
                numbers = trial.ledger.new(1 if format_.kind == "single" else random.randint(2, _EVENTS))
                while not await said(connection, format_, numbers):
                    repeats += 1

    async def said(connection: Connection, format_: Format, numbers: list[int]) -> bool:
        try:
            async with asyncio.timeout(_IMPATIENT_SECONDS):
                results = await format_.send(connection, [trial.ledger.event(number) for number in numbers])
        except (OSError, TimeoutError):
            return False
        _note(trial, numbers, results)
        return True

    async with (
        Proxy(cluster.url) as proxy,
        Service(home, proxy.url, commit_timeout_seconds=1, connect_timeout_seconds=1) as service,
        asyncio.TaskGroup() as tasks,
    ):
        clients = [tasks.create_task(client(service.port)) for _ in range(_CLIENTS)]
        for number in range(form.rounds(short=3, full=60)):
            before = repeats
            proxy.arm(Fault("stall", _STALLS[number % len(_STALLS)]))
            async with asyncio.timeout(30):
                await proxy.struck.wait()
            await asyncio.sleep(random.uniform(2, 5) * _IMPATIENT_SECONDS)
            proxy.heal()
            assert repeats > before
            trial.row.rounds += 1
            await asyncio.sleep(random.uniform(0, 0.5))
        ending.set()
        async with asyncio.timeout(60):
            await asyncio.gather(*clients)
        peak = peak_mib(service.pid)
    trial.row.remark = f"repeated {repeats:,} times, at most {peak:.0f} MiB"
    await trial.account()
    assert peak < _MOST_MIB


async def test_clients_hang_up_in_the_middle(home: Path, cluster: Cluster, form: Form, trial: Trial) -> None:
    trial.row.kind = "clients hang up in the middle of a body"
    cut: list[int] = []
    async with Service(home, cluster.url) as service:
        async with Load([service.port], trial.ledger, clients=4) as load:
            for _ in range(form.rounds(short=5, full=200)):
                for format_ in FORMATS:
                    numbers = trial.ledger.new(1 if format_.kind == "single" else _EVENTS)
                    cut += numbers[
                        await _hang_up(service.port, format_, [trial.ledger.event(each) for each in numbers]) :
                    ]
                trial.row.rounds += 1
            await load.stop()
        sent_again = random.sample(cut, min(len(cut) // 2, 5_000))
        assert await _stored(cluster, cut) == []
        async with Connection(service.port) as connection:
            results = await _ARRAY.send(connection, [trial.ledger.event(number) for number in sent_again])
            _note(trial, sent_again, results)
        await trial.account()
        assert await _stored(cluster, cut) == sorted(sent_again)
        peak = peak_mib(service.pid)
    trial.row.remark = f"{len(FORMATS) * trial.row.rounds:,} hung up, at most {peak:.0f} MiB"
    assert load.unexpected == []
    assert peak < _MOST_MIB


def _note(trial: Trial, numbers: Sequence[int], results: Sequence[Mapping[str, Any]]) -> None:
    for number, result in zip(numbers, results, strict=True):
        trial.ledger.acknowledge(number, result["status"])


async def _hang_up(port: int, format_: Format, events: Sequence[bytes]) -> int:
    """Send the first part of these events, in a body of a given length or in the midst of a chunk, and let go.

    Gives how many of them may be stored.
    """
    body = format_.body(events)
    at = random.randrange(len(body))
    begin = random.randint(0, at)
    chunked = random.random() < 0.5
    async with Connection(port) as connection:
        way = await connection.open()
        way.write(head("POST", format_.path, None if chunked else len(body), **format_.headers))
        if chunked and begin:
            way.write(b"%x\r\n%b\r\n" % (begin, body[:begin]))
        if chunked:
            way.write(b"%x\r\n%b" % (len(body) - begin, body[begin:at]))
        else:
            way.write(body[:at])
        await way.drain()
        await asyncio.sleep(random.choice([0, 0.01]))
        if random.random() < 0.5:
            way.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return format_.whole(events, body[:at])


async def _stored(cluster: Cluster, numbers: Sequence[int]) -> list[int]:
    """Which of these events are stored."""
    async with cluster.admin() as database:
        records = await database.fetch(
            "SELECT number FROM interactions, CAST(document->>'id' AS bigint) AS number "
            "WHERE number = ANY ($1::bigint[]) ORDER BY 1",
            numbers,
        )
    return [record["number"] for record in records]
