"""The load: a process that sends requests over kept connections as fast as they are answered, and counts the answers.

    python -m percorso.bench.load < specification.json > result.json

It must not be what limits, so it speaks HTTP by itself: requests are bytes put together, and answers are looked at for
their status and counts alone.
"""

import asyncio
import json
import re
import resource
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any, Final, Literal, TypeVar, cast

from percorso.bench.events import DAYS, Events
from percorso.bench.responses import Answer, Answers

PATIENCE_SECONDS: Final = 30
"""How long after its time a load waits for answers that are missing."""

Result = TypeVar("Result")

_EVENTS: Final = "/v1/interactions"
_CALLS: Final = "/segment/v1/batch"
_PIECE: Final = 100
_COUNTS: Final = re.compile(rb'"(received|stored|duplicate)": ?(\d+)')


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. It ends after `seconds`, or once `count` events (or requests, for `get`) are sent.

    `kind`: one event a request (`single`), a JSON array of `batch` events (`batch`), a batch of Segment's calls of as
    many (`segment`), all `count` events in one request (`ndjson`); or the `paths` in turn, read (`get`) or posted to
    with the `bodies` (`post`). Events are those of `source` over the `days` up to `now`, from number
    `first`.
    """

    kind: Literal["single", "batch", "segment", "ndjson", "get", "post"]
    port: int
    key: str
    connections: int
    source: str = ""
    now: str = ""
    days: float = DAYS
    first: int = 0
    batch: int = 1000
    count: int | None = None
    seconds: float | None = None
    paths: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a load: events `first` up to `following` were sent, all acknowledged but for the ranges `missing`.

    `acknowledged` counts events, or requests answered with 2xx, for `get` and `post`.
    """

    seconds: float
    requests: int
    acknowledged: int
    statuses: dict[str, int]
    lost_connections: int
    latencies_ms: dict[str, float]
    first: int
    following: int
    missing: list[tuple[int, int]]
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Request:
    data: bytes
    first: int = 0
    count: int = 1
    rest: Iterator[bytes] | None = None


class _Work:
    """What is still to be sent, and what came back."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.following = load.first
        self.acknowledged = 0
        self.statuses: Counter[int] = Counter()
        self.latencies = array("d")
        self.missing: list[tuple[int, int]] = []
        self.lost_connections = 0
        self._events = Events(load.source, datetime.fromisoformat(load.now), days=load.days) if load.now else None
        self._head = (
            "Host: 127.0.0.1\r\nAuthorization: Bearer " + load.key + "\r\nAccept: application/json\r\n"
        ).encode()
        self._given = [f"GET {path} HTTP/1.1\r\n".encode() + self._head + b"\r\n" for path in load.paths]
        if load.kind == "post":
            pairs = zip(load.paths, load.bodies, strict=True)
            self._given = [self._post(path, "json", body.encode()) for path, body in pairs]
        self._until = float("inf")

    def begin(self) -> None:
        """Start the clock."""
        if self.load.seconds is not None:
            self._until = perf_counter() + self.load.seconds

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return perf_counter() >= self._until

    def request(self) -> _Request | None:
        """The next request; None where there is none."""
        end = None if self.load.count is None else self.load.first + self.load.count
        if self.over or (end is not None and self.following >= end):
            return None
        first = self.following
        if self._given:
            self.following += 1
            return _Request(self._given[first % len(self._given)])
        assert self._events is not None  # noqa: S101 - only what is given goes without
        if self.load.kind == "single":
            self.following += 1
            return _Request(self._post(_EVENTS, "json", self._events.one(first)), first)
        if self.load.kind in {"batch", "segment"}:
            count = self.load.batch if end is None else min(self.load.batch, end - first)
            self.following += count
            if self.load.kind == "segment":
                return _Request(self._post(_CALLS, "json", self._events.calls(first, count)), first, count)
            return _Request(self._post(f"{_EVENTS}/batch", "json", self._events.array(first, count)), first, count)
        assert end is not None  # noqa: S101 - a stream is given its length
        self.following = end
        return _Request(self._post(f"{_EVENTS}/batch", "x-ndjson", None), first, end - first, self._pieces(first, end))

    def _post(self, path: str, type_: str, body: bytes | None) -> bytes:
        size = "Transfer-Encoding: chunked" if body is None else f"Content-Length: {len(body)}"
        head = f"POST {path} HTTP/1.1\r\nContent-Type: application/{type_}\r\n{size}\r\n".encode()
        return head + self._head + b"\r\n" + (body or b"")

    def _pieces(self, first: int, end: int) -> Iterator[bytes]:
        assert self._events is not None  # noqa: S101 - only what is given goes without
        for at in range(first, end, _PIECE):
            lines = self._events.lines(at, min(_PIECE, end - at))
            yield b"%x\r\n%b\r\n" % (len(lines), lines)
        yield b"0\r\n\r\n"

    def answered(self, request: _Request, answer: Answer, seconds: float) -> None:
        """Take note of an answer."""
        self.statuses[answer.status] += 1
        self.latencies.append(seconds)
        missing = list(_missing(request, answer, several=self.load.kind in {"batch", "ndjson"}))
        self.acknowledged += request.count - sum(end - first for first, end in missing)
        self.missing += missing

    def unanswered(self, request: _Request) -> None:
        """Take note of a request whose answer never came."""
        self.lost_connections += 1
        self.unsent(request)

    def unsent(self, request: _Request) -> None:
        """Take note of a request that was made and never sent."""
        self.missing.append((request.first, request.first + request.count))


def _missing(request: _Request, answer: Answer, *, several: bool) -> Iterator[tuple[int, int]]:
    """The ranges of events of a request that its answer does not acknowledge."""
    end = request.first + request.count
    if not 200 <= answer.status < 300:  # noqa: PLR2004 - the good ones
        yield request.first, end
        return
    if not several:
        return
    counts = {name: int(number) for name, number in _COUNTS.findall(answer.body[:200])}
    if counts[b"stored"] + counts[b"duplicate"] == counts[b"received"] == request.count:
        return
    named = json.loads(answer.body)
    for result in named["results"]:
        if result["status"] != "duplicate":
            yield request.first + result["index"], request.first + result["index"] + 1
    if named["received"] < request.count:
        yield request.first + named["received"], end


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next."""

    def __init__(self, work: _Work, done: Callable[[], None]) -> None:
        self._work = work
        self._done = done
        self._answers = Answers()
        self._request: _Request | None = None
        self._next: _Request | None = None
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the next request, or end."""
        if self._next is not None and self._work.over:
            self._work.unsent(self._next)
            self._next = None
        self._request, self._next = self._next or self._work.request(), None
        assert self._transport is not None  # noqa: S101 - called once connected
        if self._request is None:
            self._transport.close()
            return
        self._sent = perf_counter()
        self._transport.write(self._request.data)
        self._go_on()
        if self._work.load.kind in {"batch", "segment"}:
            # Made while the service works: else it would wait for it, which takes a while for a large one.
            asyncio.get_running_loop().call_soon(self._prepare)

    def _prepare(self) -> None:
        if self._next is None and self._request is not None:
            self._next = self._work.request()

    def _go_on(self) -> None:
        """Send of a long body what the connection takes."""
        if self._request is None or self._request.rest is None or self._transport is None:
            return
        while not self._paused and (piece := next(self._request.rest, None)) is not None:
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        for answer in self._answers.feed(data):
            if self._request is not None:
                request, self._request = self._request, None
                self._work.answered(request, answer, perf_counter() - self._sent)
                self.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._request is not None:
            self._work.unanswered(self._request)
        if self._next is not None:
            self._work.unsent(self._next)
        self._done()


async def run(load: Load) -> Loaded:
    """Send this load, and say what came of it."""
    loop = asyncio.get_running_loop()
    work = _Work(load)
    finished = asyncio.Event()
    left = load.connections

    def done() -> None:
        nonlocal left
        left -= 1
        if not left:
            finished.set()

    made = [
        await loop.create_connection(lambda: _Connection(work, done), "127.0.0.1", load.port)
        for _ in range(load.connections)
    ]
    cpu, begun = _cpu(), perf_counter()
    work.begin()
    for _, connection in made:
        connection.send()
    try:
        async with asyncio.timeout(None if load.seconds is None else load.seconds + PATIENCE_SECONDS):
            await finished.wait()
    except TimeoutError:
        for transport, _ in made:
            transport.abort()
        await finished.wait()
    seconds = perf_counter() - begun
    return Loaded(
        seconds=seconds,
        requests=sum(work.statuses.values()),
        acknowledged=work.acknowledged,
        statuses={str(status): count for status, count in sorted(work.statuses.items())},
        lost_connections=work.lost_connections,
        latencies_ms=percentiles(work.latencies),
        first=load.first,
        following=work.following,
        missing=sorted(work.missing),
        cpu_seconds=_cpu() - cpu,
    )


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p95 and p99 in ms, by nearest rank; none of nothing."""
    ordered = sorted(seconds)
    return {f"p{percent}": ordered[-(-len(ordered) * percent // 100) - 1] * 1000 for percent in (50, 95, 99) if ordered}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def on_fast_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run this on the event loop that a server takes: uvloop where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415 - there is none for every system

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def main() -> None:
    """Read what to send, send it, write what came of it."""
    load = Load(**json.load(sys.stdin))
    json.dump(asdict(on_fast_loop(run(load))), sys.stdout)


if __name__ == "__main__":
    main()
