"""An open loop of single events, from a process of its own: each is sent at its time, whatever became of the others.

    python -m faults.generator < specification.json > result.json

The time an event takes is counted from when it should have been sent, so that a service that is late cannot hide it.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Final, cast

from faults.clients import head
from percorso.bench.events import Events
from percorso.bench.load import on_fast_loop

_TESTS: Final = Path(__file__).parents[1]
_PATIENCE_SECONDS: Final = 60
_TICK_SECONDS: Final = 0.001
_REFUSED: Final = 503
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Stream:
    """`count` events of `source` as of `now`, from number `first`, `rate` a second, on `connections` at most."""

    port: int
    source: str
    now: str
    first: int
    count: int
    rate: float
    connections: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of each event, in order: its status, 0 without an answer, negative for a 503 without Retry-After.

    `seconds`: how long each took from its time to its answer. `late`: how far this process itself was behind at most.
    """

    statuses: list[int]
    seconds: list[float]
    late: float


class _Work:
    """What is due and what came of it."""

    def __init__(self, stream: Stream) -> None:
        self.statuses = [0] * stream.count
        self.seconds = [0.0] * stream.count
        self.late = 0.0
        self._stream = stream
        self._events = Events(stream.source, datetime.fromisoformat(stream.now))
        self._due: deque[int] = deque()
        self._idle: list[_Connection] = []
        self._open = 0
        self._missing = stream.count
        self._begun = perf_counter()
        self._connecting: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Send each event at its time, then wait for the answers that are missing."""
        following = 0
        while following < self._stream.count:
            passed = perf_counter() - self._begun
            self.late = max(self.late, passed - following / self._stream.rate)
            due = min(int(passed * self._stream.rate) + 1, self._stream.count)
            self._due.extend(range(following, due))
            following = due
            self._send()
            await asyncio.sleep(_TICK_SECONDS)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._done.wait()

    def answered(self, number: int, status: int) -> None:
        """This is answered; 0 where it will not be."""
        self.statuses[number] = status
        self.seconds[number] = perf_counter() - self._begun - number / self._stream.rate
        self._missing -= 1
        if not self._missing:
            self._done.set()

    def free(self, connection: "_Connection") -> None:
        """This connection can take the next."""
        self._idle.append(connection)
        self._send()

    def lost(self, connection: "_Connection") -> None:
        """This connection has ended."""
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    def _send(self) -> None:
        """Send what is due, as far as there are connections for it."""
        while self._due and self._idle:
            number = self._due.popleft()
            event = self._events.one(self._stream.first + number)
            request = head("POST", "/v1/interactions", len(event), content_type="application/json") + event
            self._idle.pop().send(number, request)
        while len(self._connecting) < len(self._due) and self._open < self._stream.connections:
            self._open += 1
            task = asyncio.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._stream.port)
        except OSError:
            self._open -= 1
            if self._due:
                self.answered(self._due.popleft(), 0)


class _Connection(asyncio.Protocol):
    """One kept connection: an event, its answer, the next."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._transport: asyncio.Transport | None = None
        self._number: int | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._work.free(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._work.lost(self)
        if self._number is not None:
            self._work.answered(self._number, 0)

    def send(self, number: int, request: bytes) -> None:
        """Send this; the connection is free when it was answered."""
        assert self._transport is not None
        self._number = number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        first, end, body = self._held.partition(_END)
        headers = first.lower()
        _, _, size = headers.partition(b"\r\ncontent-length: ")
        if not end or len(body) < int(size.partition(b"\r\n")[0]):
            return
        status = int(headers[9:12])
        number, self._number, self._held = self._number, None, b""
        assert number is not None
        complete = status != _REFUSED or b"\r\nretry-after: " in headers
        self._work.answered(number, status if complete else -status)
        if b"\r\nconnection: close" in headers:
            assert self._transport is not None
            self._transport.close()
        else:
            self._work.free(self)


async def run(stream: Stream) -> Outcome:
    """Send this stream, and say what came of it."""
    work = _Work(stream)
    await work.run()
    return Outcome(work.statuses, [round(each, 4) for each in work.seconds], work.late)


async def generate(stream: Stream) -> Outcome:
    """Send this stream from a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faults.generator", cwd=_TESTS, stdin=PIPE, stdout=PIPE
    )
    try:
        answer, _ = await process.communicate(json.dumps(asdict(stream)).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return Outcome(**json.loads(answer))


if __name__ == "__main__":
    print(json.dumps(asdict(on_fast_loop(run(Stream(**json.load(sys.stdin)))))))  # noqa: T201 - the result
