"""How it feels to everybody else: a client that stores one interaction after another, and what memory that takes."""

import asyncio
import json
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from time import monotonic
from typing import Final, Self

from faults.clients import Connection
from faults.ledger import Ledger
from percorso.bench.processes import Server
from writing import until

_PAUSE_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 30


class Probe:
    """Stores one interaction after another from entry to exit of the context, and takes the time of each.

    `statuses` counts the answers; of one that does not come within 30 s the status is 0.
    """

    def __init__(self, port: int, ledger: Ledger) -> None:
        self.statuses: Counter[int] = Counter()
        self._port = port
        self._ledger = ledger
        self._seconds: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def taken(self) -> int:
        """How many times were taken so far."""
        return len(self._seconds)

    async def more(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more times are taken."""
        end = self.taken() + count
        await until(lambda: self.taken() >= end, seconds)

    def p99(self, *, since: int = 0) -> float:
        """The time within which 99 of 100 answers came, in seconds, from this time taken on."""
        ordered = sorted(self._seconds[since:])
        assert ordered, "there was no answer"
        return ordered[ceil(len(ordered) * 0.99) - 1]

    async def _run(self) -> None:
        async with Connection(self._port) as connection:
            while True:
                [number] = self._ledger.new(1)
                begun = monotonic()
                status = 0
                try:
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        answer = await connection.ask(
                            "POST", "/v1/interactions", self._ledger.event(number), content_type="application/json"
                        )
                    status = answer.status
                    if status in {200, 201}:
                        self._ledger.acknowledge(number, json.loads(answer.body)["status"])
                except (OSError, TimeoutError):
                    pass
                self.statuses[status] += 1
                self._seconds.append(monotonic() - begun)
                await asyncio.sleep(_PAUSE_SECONDS)


def peak_mib(pid: int) -> float:
    """The most memory that a process has held so far, in MiB."""
    peak = Server(pid, 0).peak_mib()
    assert peak is not None, "the system does not say what memory a process holds"
    return peak


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """This process, and those that it starts, may hold so many files and connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= count, f"{hard} open files are allowed, {count} are needed"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
