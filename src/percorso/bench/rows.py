"""What is measured: each row is a generator that yields one pair of figures a round, our side's and its limit's.

Within a round the two sides follow each other, so that whatever else the machine does over time meets both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from percorso.bench import preload
from percorso.bench.place import Place
from percorso.bench.processes import Server
from percorso.bench.server import TWO_WORKERS
from percorso.bench.sides import (
    Figure,
    Options,
    Pair,
    Run,
    act,
    copy,
    get,
    journey_paths,
    merge_and_split,
    pair,
    post,
    read,
    rounds,
    servers,
    summary_paths,
)

_BATCH_CONNECTIONS: Final = 4
_POSTS_REMEMBERED: Final = 8
"""Posts for each identity that a service may remember, while its memory is watched: two in three name a new one."""


Send = Callable[[Server, float], Run]
"""Sends something to a server for so many seconds."""

Of = Literal["rate", "p50", "p99", "tail", "memory"]
"""What a ratio is of: rates, to be at least so much; or, to be at most so much, median times, 99th percentiles, our own
99th percentile to our median, or memory held at the end to that held early on."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: `what` is held `against` what, and the ratio to reach.

    `reach_mib` and `reach_ms` bound the service's memory and our median time. A row that `grows` is begun when a
    twentieth is stored: what `measure` yields first, None, stands for that.
    """

    name: str
    what: str
    against: str
    reach: float
    measure: Callable[[Place, Options], Iterator[Pair | None]]
    of: Of = "rate"
    reach_mib: float | None = None
    reach_ms: float | None = None
    reads_journeys: bool = False
    reads_histories: bool = False
    grows: bool = False
    cores: int = 1

    def ratio(self, pair: Pair) -> float:
        """The ratio of one round."""
        if self.of == "rate":
            return pair.ours.per_second / pair.limit.per_second
        if self.of == "tail":
            return pair.ours.latencies_ms["p99"] / pair.ours.latencies_ms["p50"]
        if self.of == "memory":
            return pair.growth or 1.0
        return pair.ours.latencies_ms[self.of] / pair.limit.latencies_ms[self.of]


def single(place: Place, options: Options, *, against: str) -> Iterator[Pair]:
    """Single posts, here and to another server, which stores them too or only says so."""
    source, other = f"bench-single-{against}", f"bench-{against}"
    connections, stores = options.connections, against == "ordinary"
    sent = 0
    with servers(place, "percorso", against) as (server, limit):
        for seconds, counts in rounds(options):
            ours = post(place, server, "single", source, connections=connections, seconds=seconds)
            held = post(
                place, limit, "single", other, connections=connections, seconds=seconds, first=sent, stores=stores
            )
            sent = held.loaded.following
            if counts:
                yield pair(ours, held.figure, held)


def tail(place: Place, options: Options) -> Iterator[Pair]:
    """Single posts: how much longer the slowest take than most."""
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            ours = post(place, server, "single", "bench-tail", connections=options.connections, seconds=seconds)
            if counts:
                yield pair(ours, ours.figure)


def workers(place: Place, options: Options) -> Iterator[Pair]:
    """Single posts to two processes, and to one."""
    with servers(place, TWO_WORKERS, "percorso") as (two, one):
        for seconds, counts in rounds(options):
            ours, held = (
                post(place, server, "single", "bench-workers", connections=options.connections, seconds=seconds)
                for server in (two, one)
            )
            if counts:
                yield pair(ours, held.figure, held)


def memory(place: Place, options: Options) -> Iterator[Pair]:
    """What the service holds after many posts, against what it held after a fifth of them.

    It may remember so few identities that it is full of them by then: what still grows has no bound.
    """
    source, first = "bench-memory", options.posts // 5
    remembered = str(max(1, first // _POSTS_REMEMBERED))
    forgetful = replace(place, environment=place.environment | {"PERCORSO_SEEN_IDENTITIES": remembered})
    with servers(forgetful, "percorso") as (server,):
        early = post(place, server, "single", source, connections=options.connections, count=first)
        held = server.held_mib()
        late = post(place, server, "single", source, connections=options.connections, count=options.posts - first)
        after = server.held_mib()
        growth = None if held is None or after is None else after / held
        yield replace(pair(late, early.figure, early, peak_mib=server.peak_mib()), growth=growth)


def batch(place: Place, options: Options) -> Iterator[Pair]:
    """Batches, against a bare COPY."""
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            ours = post(place, server, "batch", "bench-batch", connections=_BATCH_CONNECTIONS, seconds=seconds)
            if counts:
                yield pair(ours, copy(place, seconds=seconds))


def ndjson(place: Place, options: Options) -> Iterator[Pair]:
    """A stream of lines in one request, against a bare COPY of as many; with the service's peak memory."""
    with servers(place, "percorso") as (server,):
        for _ in range(options.rounds):
            ours = post(place, server, "ndjson", "bench-ndjson", count=options.lines)
            limit = copy(place, count=options.lines)
            yield pair(ours, limit, peak_mib=server.peak_mib())


def duplicates(place: Place, options: Options) -> Iterator[Pair]:
    """Batches sent again, against their first sending."""
    source = "bench-again"
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            first = post(place, server, "batch", source, connections=_BATCH_CONNECTIONS, seconds=seconds)
            begin, end = first.loaded.first, first.loaded.following
            again = post(place, server, "batch", source, connections=_BATCH_CONNECTIONS, first=begin, count=end - begin)
            if counts:
                yield pair(again, first.figure, first)


def journey(place: Place, options: Options) -> Iterator[Pair]:
    """A page of a journey, against the bare SQL and an empty route, one request after the other."""
    customers = [preload.one_identity(number) for number in range(preload.CUSTOMERS)]
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            ours = get(place, server, journey_paths(customers), seconds)
            empty = get(place, server, ["/health/live"], seconds)
            if counts:
                yield pair(ours, _together(read(place, customers, seconds), empty.figure), empty)


def _together(sql: Figure, empty: Figure) -> Figure:
    """What the medians of both come to; other percentiles do not add up."""
    p50 = sql.latencies_ms["p50"] + empty.latencies_ms["p50"]
    return Figure(1000 / p50, {"p50": p50})


def journey_many(place: Place, options: Options) -> Iterator[Pair]:
    """A page of a journey of ten identities over ten years, against that of one identity in one month."""
    many = [preload.ten_identities(number, number % preload.IDENTITIES) for number in range(preload.CUSTOMERS)]
    return _against_one(place, options, many)


def journey_long(place: Place, options: Options) -> Iterator[Pair]:
    """The same of ten thousand interactions over those ten years."""
    return _against_one(place, options, [preload.long_lived(number, number) for number in range(preload.LONG_LIVED)])


def _against_one(place: Place, options: Options, many: Sequence[str]) -> Iterator[Pair]:
    few = [preload.one_identity(number) for number in range(preload.CUSTOMERS)]
    return _compared(
        place,
        options,
        lambda server, seconds: get(place, server, journey_paths(many), seconds),
        lambda server, seconds: get(place, server, journey_paths(few), seconds),
    )


def _compared(place: Place, options: Options, ours: Send, held: Send) -> Iterator[Pair]:
    """The same server asked two things, one after the other."""
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            first, then = ours(server, seconds), held(server, seconds)
            if counts:
                yield pair(first, then.figure, then)


def summary(place: Place, options: Options) -> Iterator[Pair]:
    """The summary of a customer with ten identities and ten thousand interactions, against a page of their journey."""
    customers = [preload.long_lived(number, number) for number in range(preload.LONG_LIVED)]
    return _compared(
        place,
        options,
        lambda server, seconds: get(place, server, summary_paths(customers), seconds),
        lambda server, seconds: get(place, server, journey_paths(customers), seconds),
    )


def merge(place: Place, options: Options) -> Iterator[Pair]:
    """Merge and split a customer of ten identities and ten thousand interactions, against one of sixty."""
    long, short = (
        [name(number) for number in range(preload.IDENTITIES)]
        for name in (partial(preload.long_lived, 0), partial(preload.ten_identities, 0))
    )
    return _compared(
        place,
        options,
        lambda server, seconds: act(place, server, merge_and_split(long), seconds),
        lambda server, seconds: act(place, server, merge_and_split(short), seconds),
    )


def journey_grown(place: Place, options: Options) -> Iterator[Pair | None]:
    """A page of a journey when all is stored, against when a twentieth was."""
    paths = journey_paths([preload.one_identity(number) for number in range(preload.CUSTOMERS)])
    return _grown(place, options, lambda server, seconds: get(place, server, paths, seconds))


def ingest_grown(place: Place, options: Options) -> Iterator[Pair | None]:
    """Batches when all is stored, against when a twentieth was."""
    return _grown(
        place,
        options,
        lambda server, seconds: post(
            place, server, "batch", "bench-grown", connections=_BATCH_CONNECTIONS, seconds=seconds
        ),
    )


def _grown(place: Place, options: Options, send: Send) -> Iterator[Pair | None]:
    def every_round() -> list[Run]:
        with servers(place, "percorso") as (server,):
            runs = [(send(server, seconds), counts) for seconds, counts in rounds(options)]
        return [run for run, counts in runs if counts]

    before = every_round()
    yield None
    for held, ours in zip(before, every_round(), strict=True):
        yield pair(ours, held.figure, held)


_ALL: Final = (
    Row("single", "single POSTs", "the same, validated and not stored", 0.80, partial(single, against="accepted")),
    Row("tail", "single POSTs, p99", "their own p50", 5, tail, of="tail"),
    Row("ordinary", "single POSTs", "an ordinary service", 5, partial(single, against="ordinary")),
    Row("batch", "batches of 1,000", "bare COPY", 0.50, batch),
    Row("ndjson", "one NDJSON stream", "bare COPY", 0.50, ndjson, reach_mib=300),
    Row("duplicates", "the same batches again", "their first sending", 0.5, duplicates),
    Row(
        "journey",
        "a journey's page of 50, p50",
        "bare SQL + an empty route",
        1.5,
        journey,
        of="p50",
        reads_journeys=True,
    ),
    Row(
        "journey_many",
        "10 identities, 10 years, p50",
        "one identity, one month",
        2,
        journey_many,
        of="p50",
        reads_journeys=True,
    ),
    Row(
        "journey_long",
        "the same, 10,000 interactions, p50",
        "one identity, one month",
        2,
        journey_long,
        of="p50",
        reads_journeys=True,
        reads_histories=True,
    ),
    Row(
        "summary",
        "summary of 10,000 interactions, p50",
        "a page of that journey",
        130,
        summary,
        of="p50",
        reach_ms=150,
        reads_histories=True,
    ),
    Row(
        "merge",
        "merge and split, 10,000 interactions, p50",
        "with 60 interactions",
        1.5,
        merge,
        of="p50",
        reads_journeys=True,
        reads_histories=True,
    ),
    Row(
        "journey_grown",
        "a journey's page with all stored, p99",
        "with a twentieth stored",
        1.5,
        journey_grown,
        of="p99",
        reads_journeys=True,
        grows=True,
    ),
    Row(
        "ingest_grown",
        "batches with all stored",
        "with a twentieth stored",
        0.85,
        ingest_grown,
        grows=True,
    ),
    Row("memory", "memory after all posts", "after a fifth of them", 1.1, memory, of="memory"),
    Row("workers", "single POSTs, two workers", "one worker", 1.5, workers, cores=4),
)
ROWS: Final = {row.name: row for row in _ALL}
"""Every row, by name, in the order of the table."""
