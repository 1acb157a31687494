"""What is measured: each row is a generator that yields one pair of figures a round, our side's and its limit's.

Within a round the two sides follow each other, so that whatever else the machine does over time meets both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from percorso.bench import preload
from percorso.bench.place import Place
from percorso.bench.sides import Figure, Options, Pair, copy, get, journey_paths, pair, post, read, rounds, servers

_BATCH_CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: `what` is held `against` what, and the ratio to reach.

    Ratios are of rates and are to be at least `reach`, or are of median times and are to be at most that (`of_times`).
    """

    name: str
    what: str
    against: str
    reach: float
    measure: Callable[[Place, Options], Iterator[Pair]]
    of_times: bool = False
    reach_mib: float | None = None
    reads_journeys: bool = False

    def ratio(self, pair: Pair) -> float:
        """The ratio of one round."""
        if self.of_times:
            return pair.ours.latencies_ms["p50"] / pair.limit.latencies_ms["p50"]
        return pair.ours.per_second / pair.limit.per_second


def single(place: Place, options: Options, *, against: str) -> Iterator[Pair]:
    """Single posts, here and to another server."""
    source, other = f"bench-single-{against}", f"bench-{against}"
    connections = options.connections
    sent = 0
    with servers(place, "percorso", against) as (server, limit):
        for seconds, counts in rounds(options):
            ours = post(place, server, "single", source, connections=connections, seconds=seconds)
            held = post(
                place, limit, "single", other, connections=connections, seconds=seconds, first=sent, stores=False
            )
            sent = held.loaded.following
            if counts:
                yield pair(ours, held.figure, held)


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
    few = [preload.one_identity(number) for number in range(preload.CUSTOMERS)]
    many = [preload.ten_identities(number, number % preload.IDENTITIES) for number in range(preload.CUSTOMERS)]
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            ours = get(place, server, journey_paths(many), seconds)
            held = get(place, server, journey_paths(few), seconds)
            if counts:
                yield pair(ours, held.figure, held)


_ALL: Final = (
    Row("single", "single POSTs", "the same, validated and not stored", 0.80, partial(single, against="accepted")),
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
        of_times=True,
        reads_journeys=True,
    ),
    Row(
        "journey_many",
        "10 identities, 10 years, p50",
        "one identity, one month",
        2,
        journey_many,
        of_times=True,
        reads_journeys=True,
    ),
)
ROWS: Final = {row.name: row for row in _ALL}
"""Every row, by name, in the order of the table."""
