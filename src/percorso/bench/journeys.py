"""What is measured of one customer's answers, and what becomes of it when more is stored."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from percorso.bench import preload
from percorso.bench.ingesting import BATCH_CONNECTIONS
from percorso.bench.place import Place
from percorso.bench.processes import Server
from percorso.bench.sides import (
    Figure,
    Options,
    Pair,
    Run,
    act,
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

Send = Callable[[Server, float], Run]
"""Sends something to a server for so many seconds."""


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
            place, server, "batch", "bench-grown", connections=BATCH_CONNECTIONS, seconds=seconds
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
