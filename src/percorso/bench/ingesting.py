"""What is measured of storing: single posts, batches, streams."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from percorso.bench.place import Place
from percorso.bench.schemas import enforce, forget
from percorso.bench.server import TWO_WORKERS
from percorso.bench.sides import Options, Pair, copy, pair, post, rounds, servers

BATCH_CONNECTIONS: Final = 4
_CALLS: Final = 100
"""In a batch of Segment's, as its clients send them."""
_SEGMENT_SIDES: Final[tuple[tuple[Literal["segment", "batch"], str], ...]] = (
    ("segment", "bootstrap"),
    ("batch", "bench-as-calls"),
)
"""The source of calls is the name of the key."""
_POSTS_REMEMBERED: Final = 8
"""Posts for each identity that a service may remember, while its memory is watched: two in three name a new one."""


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
            ours = post(place, server, "batch", "bench-batch", connections=BATCH_CONNECTIONS, seconds=seconds)
            if counts:
                yield pair(ours, copy(place, seconds=seconds))


def segment(place: Place, options: Options) -> Iterator[Pair]:
    """Batches of a hundred of Segment's calls, against as many interactions that say the same."""
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            ours, held = (
                post(place, server, kind, source, connections=BATCH_CONNECTIONS, seconds=seconds, batch=_CALLS)
                for kind, source in _SEGMENT_SIDES
            )
            if counts:
                yield pair(ours, held.figure, held)


def schemas(place: Place, options: Options) -> Iterator[Pair]:
    """Batches that are checked by a schema for each of their kinds, which all of them fit, against no schemas."""
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            enforce(place, server)
            ours = post(place, server, "batch", "bench-schemas", connections=BATCH_CONNECTIONS, seconds=seconds)
            forget(place, server)
            held = post(place, server, "batch", "bench-schemas", connections=BATCH_CONNECTIONS, seconds=seconds)
            if counts:
                yield pair(ours, held.figure, held)


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
            first = post(place, server, "batch", source, connections=BATCH_CONNECTIONS, seconds=seconds)
            begin, end = first.loaded.first, first.loaded.following
            again = post(place, server, "batch", source, connections=BATCH_CONNECTIONS, first=begin, count=end - begin)
            if counts:
                yield pair(again, first.figure, first)
