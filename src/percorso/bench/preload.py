"""What is stored before anything is measured, through the service's own pipeline: identities, links and all."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from percorso.app import serving
from percorso.bench.events import POPULATION, Events, dated, emails
from percorso.bench.limits import connected
from percorso.bench.place import Place
from percorso.errors import StartupError
from percorso.ingest.pipeline import Pipeline
from percorso.storage import deployment
from percorso.storage.database import create_engine, url_of, writing
from percorso.workers.rollups import Rollups

STORED: Final = "bench-stored"
JOURNEYS: Final = "bench-journeys"
CUSTOMERS: Final = 50
"""How many customers there are of each of the two kinds whose journeys are read."""
IDENTITIES: Final = 10
YEARS: Final = 10
LENGTH: Final = 60
"""Interactions in each of those journeys: more than a page."""

HISTORIES: Final = "bench-histories"
LONG_LIVED: Final = 2
"""How many customers there are whose whole history is read."""
HISTORY: Final = 10_000
"""Interactions of each of them, over ten years under ten addresses."""

_SPAN: Final = timedelta(days=365 * YEARS)
_CHUNK: Final = 1000
_IN_FLIGHT: Final = 4

Progress = Callable[[int], None]


def one_identity(customer: int) -> str:
    """The address of a customer who has one, and all of whose interactions are in one month."""
    return f"uno.{customer}@example.com"


def ten_identities(customer: int, number: int) -> str:
    """One of the ten addresses of a customer whose interactions are spread over ten years."""
    return f"dieci.{customer}.{number}@example.com"


def long_lived(customer: int, number: int) -> str:
    """One of the ten addresses of a customer with a long history."""
    return f"lunga.{customer}.{number}@example.com"


TOUCHPOINT_DAYS: Final = 730
"""The time that events are spread over where touchpoints are asked about."""
_EACH: Final = 20
"""Interactions stored for each customer then, where that makes more customers than there are otherwise."""


async def store(
    place: Place, rows: int, *, journeys: bool, histories: bool, touchpoints: bool, progress: Progress
) -> None:
    """Store events until there are so many, and the journeys and the whole histories that are to be read.

    With `touchpoints` they are spread over two years, and what is kept of touchpoints is up to date at the end.
    `progress` is told how many are stored.
    """
    now = datetime.fromisoformat(place.now)
    spread = {"days": TOUCHPOINT_DAYS, "population": max(POPULATION, rows // _EACH)} if touchpoints else {}
    events = Events(STORED, now, **spread)
    async with serving(place.settings) as services:
        missing = range(place.ledger.following(STORED), rows)
        await _take(place, services.pipeline, STORED, map(events.one, missing), progress)
        if journeys:
            await _take(place, services.pipeline, JOURNEYS, _journeys(now), progress)
        if histories:
            await _take(place, services.pipeline, HISTORIES, _histories(now), progress)
    async with connected(place.settings) as (session, _):
        for table in ("interactions", "interaction_keys", "identities", "identity_links"):
            await session.execute(f"VACUUM (ANALYZE) {table}")
    if touchpoints:
        await _keep(place)


async def _keep(place: Place) -> None:
    """Let all that is kept of touchpoints come up to date."""
    engine = create_engine(url_of(place.settings), place.settings)
    try:
        async with writing(engine) as session:
            generation = (await deployment.ensure(session)).generation
        keeping = Rollups(engine, generation=generation, rest=0)
        while await keeping.run():
            pass
    finally:
        await engine.dispose()


async def _take(place: Place, pipeline: Pipeline, source: str, events: Iterable[bytes], progress: Progress) -> None:
    """Store events in chunks; while one is being committed the next is prepared."""
    remaining = iter(events)
    flying: deque[asyncio.Task[int]] = deque()
    first = stored = place.ledger.following(source)
    while chunk := list(islice(remaining, _CHUNK)):
        flying.append(asyncio.create_task(_chunk(pipeline, chunk)))
        if len(flying) > _IN_FLIGHT:
            stored += await flying.popleft()
            progress(stored)
    for task in flying:
        stored += await task
    progress(stored)
    place.ledger.note(source, first, stored)


async def _chunk(pipeline: Pipeline, chunk: list[bytes]) -> int:
    verdicts = await pipeline.take(chunk, wait=True)
    if any(verdict.status != "stored" for verdict in verdicts):
        raise StartupError("The bench's events could not be stored; see the log.")
    return len(chunk)


def _journeys(now: datetime) -> Iterator[bytes]:
    """The journeys of the two kinds of customers."""
    month = (now.replace(day=1) - timedelta(days=1)).replace(day=1, hour=0)
    number = 0
    for customer in range(CUSTOMERS):
        all_ten = [ten_identities(customer, which) for which in range(IDENTITIES)]
        for step in range(LENGTH):
            one = emails([one_identity(customer)])
            yield dated(JOURNEYS, number, month + timedelta(hours=10 * step), one)
            # The first says that the ten are one person.
            ten = emails([all_ten[step % IDENTITIES]] if step else all_ten)
            yield dated(JOURNEYS, number + 1, now - _SPAN * (step + 1) / LENGTH, ten)
            number += 2


def _histories(now: datetime) -> Iterator[bytes]:
    """The histories of customers that are read whole."""
    for number in range(LONG_LIVED * HISTORY):
        customer, step = divmod(number, HISTORY)
        addresses = [long_lived(customer, which) for which in range(IDENTITIES)]
        of = emails([addresses[step % IDENTITIES]] if step else addresses)
        yield dated(HISTORIES, number, now - _SPAN * (step + 1) / HISTORY, of)
