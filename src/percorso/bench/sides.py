"""The two sides of a comparison: how each is run, and the figures that come of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote

from percorso.bench import limits, processes
from percorso.bench.events import DAYS
from percorso.bench.limits import Copied, Copy, HaveRead, Read
from percorso.bench.load import Load, Loaded, on_fast_loop
from percorso.bench.place import Place
from percorso.bench.processes import Server

COPIED: Final = "bench-copied"
_MOST_WARM_UP_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured: rounds, seconds a round and side, connections of single posts, lines of a stream.

    `posts` are the single posts over which memory is watched.
    """

    rounds: int = 5
    seconds: float = 5
    connections: int = 64
    lines: int = 200_000
    posts: int = 100_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One side in one round: events or pages per second, and the latencies of its requests in ms."""

    per_second: float
    latencies_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """One round: what is measured, what it is held against, and what was seen beside that.

    `load_cpu` and `server_cpu` are the processor seconds that load generator and server used in `seconds`; `refused`
    counts what was answered with anything but 2xx, or not at all. `growth` is what the service held at the end to what
    it held before.
    """

    ours: Figure
    limit: Figure
    seconds: float
    load_cpu: float
    server_cpu: float | None
    refused: int
    peak_mib: float | None = None
    growth: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a load, and the processor seconds that the server used for it."""

    loaded: Loaded
    server_cpu: float | None

    @property
    def figure(self) -> Figure:
        """Its figures."""
        return Figure(self.loaded.acknowledged / self.loaded.seconds, self.loaded.latencies_ms)

    @property
    def refused(self) -> int:
        """How many requests were not answered with 2xx."""
        good = sum(count for status, count in self.loaded.statuses.items() if status.startswith("2"))
        return self.loaded.requests - good + self.loaded.lost_connections


@contextmanager
def servers(place: Place, *names: str) -> Iterator[tuple[Server, ...]]:
    """Servers of these names, stopped at the end."""
    with ExitStack() as stack:
        started = [stack.enter_context(processes.serving(name, place.environment)) for name in names]
        yield tuple(server() for server in started)


def rounds(options: Options) -> Iterator[tuple[float, bool]]:
    """The seconds of each round, and whether it counts: the first is there to warm up."""
    yield min(options.seconds, _MOST_WARM_UP_SECONDS), False
    for _ in range(options.rounds):
        yield options.seconds, True


def post(
    place: Place,
    server: Server,
    kind: Literal["single", "batch", "segment", "ndjson"],
    source: str,
    *,
    connections: int = 1,
    batch: int = 1000,
    seconds: float | None = None,
    first: int | None = None,
    count: int | None = None,
    days: float = DAYS,
    stores: bool = True,
) -> Run:
    """Post events of this source, those after the last unless `first` says; `stores`: they enter the ledger."""
    load = Load(
        kind=kind,
        port=server.port,
        key=place.key,
        connections=connections,
        source=source,
        batch=batch,
        now=place.now,
        days=days,
        first=place.ledger.following(source) if first is None else first,
        count=count,
        seconds=seconds,
    )
    run = _run(place, server, load)
    if stores:
        place.ledger.note(source, load.first, run.loaded.following, run.loaded.missing)
    return run


def get(place: Place, server: Server, paths: Sequence[str], seconds: float) -> Run:
    """Get these paths one after the other: latencies of a server that is not waited for in a queue."""
    return _run(place, server, Load("get", server.port, place.key, connections=1, paths=list(paths), seconds=seconds))


def act(place: Place, server: Server, acts: Mapping[str, Any], seconds: float) -> Run:
    """Post to these paths, one after the other, what stands beside each."""
    bodies = [json.dumps(body) for body in acts.values()]
    return _run(
        place,
        server,
        Load("post", server.port, place.key, connections=1, paths=list(acts), bodies=bodies, seconds=seconds),
    )


def _run(place: Place, server: Server, load: Load) -> Run:
    before = server.cpu_seconds()
    loaded = processes.send(load, place.environment)
    after = server.cpu_seconds()
    return Run(loaded, None if before is None or after is None else after - before)


def copy(place: Place, *, seconds: float | None = None, count: int | None = None) -> Figure:
    """The bare COPY of events like those that are posted."""
    first = place.ledger.following(COPIED)
    copied = on_fast_loop(_copy(place, Copy(COPIED, place.now, first, count=count, seconds=seconds)))
    place.ledger.note(COPIED, first, copied.following)
    return Figure((copied.following - first) / copied.seconds, copied.latencies_ms)


async def _copy(place: Place, wanted: Copy) -> Copied:
    async with limits.connected(place.settings) as (session, this):
        return await limits.copy(session, this, place.settings, wanted)


def read(place: Place, customers: Sequence[str], seconds: float) -> Figure:
    """The bare SQL of the journeys of these addresses."""
    done = on_fast_loop(_read(place, Read([f"email:{customer}" for customer in customers], seconds)))
    return Figure(done.pages / done.seconds, done.latencies_ms)


async def _read(place: Place, wanted: Read) -> HaveRead:
    async with limits.connected(place.settings) as (session, this):
        return await limits.read(session, this, place.settings, wanted)


def pair(ours: Run, limit: Figure, *others: Run, peak_mib: float | None = None) -> Pair:
    """The pair of a round; `others` are the loads of the other side, whose refusals count too."""
    return Pair(
        ours=ours.figure,
        limit=limit,
        seconds=ours.loaded.seconds,
        load_cpu=ours.loaded.cpu_seconds,
        server_cpu=ours.server_cpu,
        refused=ours.refused + sum(other.refused for other in others),
        peak_mib=peak_mib,
    )


def summary_paths(customers: Sequence[str]) -> list[str]:
    """The paths of the summaries of the customers who have these addresses."""
    return [f"/v1/customers/email:{quote(customer)}/summary" for customer in customers]


def journey_paths(customers: Sequence[str]) -> list[str]:
    """The paths of the first page of the journeys of these addresses."""
    return [f"/v1/customers/email:{quote(customer)}/journey?limit=50" for customer in customers]


def merge_and_split(customer: Sequence[str]) -> dict[str, Any]:
    """What makes one customer of these addresses, and parts the last of them from it.

    It begins with the merge, which is good also where they are one: the load before may have ended on either.
    """
    first, *_, last = (f"email:{address}" for address in customer)
    return {
        f"/v1/customers/{quote(last)}/merge": {"into": first, "reason": "bench"},
        f"/v1/customers/{quote(last)}/split": {"identifiers": [last], "reason": "bench"},
    }
