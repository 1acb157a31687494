"""What is measured of touchpoints: answers from what is kept of them, against the same question asked of the facts."""

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlencode

from percorso.bench.events import LIVE_DAYS
from percorso.bench.limits import connected
from percorso.bench.load import on_fast_loop, percentiles
from percorso.bench.place import Place
from percorso.bench.preload import TOUCHPOINT_DAYS
from percorso.bench.server import WITHOUT_ROLLUPS
from percorso.bench.sides import Figure, Options, Pair, get, pair, post, rounds, servers
from percorso.queries import baseline
from percorso.storage.database import WriteSession

_SPANS: Final = 200
_ZONE: Final = "Europe/Rome"
_SLUG: Final = "support-line/007"
_STEPS: Final = "kind:page_viewed,kind:support_chat,kind:store_purchase"
_WITHIN: Final = timedelta(days=30)

Span = tuple[datetime, datetime]
Ask = Callable[[WriteSession, datetime, datetime], Awaitable[Sequence[Any]]]


def listed(place: Place, options: Options) -> Iterator[Pair]:
    """The list of touchpoints with their figures, over any range."""
    return _against_facts(place, options, "/v1/touchpoints", _spans(place), baseline.by_touchpoint)


def stats(place: Place, options: Options) -> Iterator[Pair]:
    """A touchpoint's days in a time zone, over any range."""

    async def ask(session: WriteSession, start: datetime, end: datetime) -> Sequence[Any]:
        return await baseline.by_day(session, start, end, _SLUG, _ZONE)

    path = f"/v1/touchpoints/{_SLUG.replace('/', '%2F')}/stats"
    return _against_facts(place, options, path, _spans(place), ask, interval="day", tz=_ZONE)


def channels(place: Place, options: Options) -> Iterator[Pair]:
    """The channels, over any range."""
    return _against_facts(place, options, "/v1/analytics/channels", _spans(place), baseline.by_channel, tz=_ZONE)


def transitions(place: Place, options: Options, *, days: int) -> Iterator[Pair]:
    """Where customers went next, over the last so many days."""

    async def ask(session: WriteSession, start: datetime, end: datetime) -> Sequence[Any]:
        return await baseline.transitions(session, start, end, _WITHIN)

    return _against_facts(place, options, "/v1/analytics/transitions", [_last(place, days)], ask)


def paths(place: Place, options: Options, *, days: int) -> Iterator[Pair]:
    """The commonest paths to a purchase, over the last so many days, against the facts of transitions."""

    async def ask(session: WriteSession, start: datetime, end: datetime) -> Sequence[Any]:
        return await baseline.transitions(session, start, end, _WITHIN)

    return _against_facts(
        place,
        options,
        "/v1/analytics/paths",
        [_last(place, days)],
        ask,
        by="kind",
        ends_with="store_purchase",
        length="4",
    )


def funnel(place: Place, options: Options, *, days: int) -> Iterator[Pair]:
    """A funnel of three steps, over the last so many days, against the facts of transitions."""

    async def ask(session: WriteSession, start: datetime, end: datetime) -> Sequence[Any]:
        return await baseline.transitions(session, start, end, _WITHIN)

    return _against_facts(place, options, "/v1/analytics/funnel", [_last(place, days)], ask, steps=_STEPS, within="30d")


def ingest(place: Place, options: Options) -> Iterator[Pair]:
    """Batches of what happens now while rollups are kept, and while they are not; the other workers run in both.

    Each side goes first in every other round: the first one stores into what the second finds grown.
    """
    names = ["percorso", WITHOUT_ROLLUPS]
    for seconds, counts in rounds(options):
        runs = {}
        for name in names:
            with servers(place, name) as (server,):
                runs[name] = post(
                    place, server, "batch", "bench-rollups", connections=4, seconds=seconds, days=LIVE_DAYS
                )
        names.reverse()
        held = runs[WITHOUT_ROLLUPS]
        if counts:
            yield pair(runs["percorso"], held.figure, held)


def _against_facts(
    place: Place, options: Options, path: str, spans: Sequence[Span], ask: Ask, **given: str
) -> Iterator[Pair]:
    wanted = [f"{path}?{urlencode({'from': _text(start), 'to': _text(end)} | given)}" for start, end in spans]
    number = 0
    with servers(place, "percorso") as (server,):
        for seconds, counts in rounds(options):
            ours = get(place, server, wanted, seconds)
            if counts:
                span = spans[number % len(spans)]
                number += 1
                yield pair(ours, on_fast_loop(_asked(place, ask, span)))


async def _asked(place: Place, ask: Ask, span: Span) -> Figure:
    """How long the facts take to answer, once."""
    async with connected(place.settings) as (session, _):
        begun = perf_counter()
        await ask(session, *span)
        seconds = perf_counter() - begun
    return Figure(1 / seconds, percentiles([seconds]))


def _spans(place: Place) -> list[Span]:
    """Ranges of whole hours, of any length, within what is stored: the same ones in every run."""
    end = _now(place)
    choose = random.Random(7)  # noqa: S311 - no secret
    hours = TOUCHPOINT_DAYS * 24
    found = []
    for _ in range(_SPANS):
        first, last = sorted(choose.sample(range(hours), 2))
        found.append((end - timedelta(hours=last), end - timedelta(hours=first)))
    return found


def _last(place: Place, days: int) -> Span:
    end = _now(place)
    return end - timedelta(days=days), end


def _now(place: Place) -> datetime:
    return datetime.fromisoformat(place.now).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
