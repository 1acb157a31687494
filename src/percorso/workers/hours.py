"""Hours made anew: their facts are read, and what they come to takes the place of what was stored."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from time import monotonic
from typing import Final

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.analytics import days, replacing
from percorso.analytics.dimensions import EVERYWHERE, OF_ALL, OF_ONE, Dimension, Level
from percorso.analytics.observe import Observed, Observer
from percorso.analytics.replacing import Changes, Place, Stored, Whole
from percorso.analytics.steps import BUCKETS
from percorso.ops import metrics
from percorso.queries import outcomes, recounting
from percorso.storage import rollups, steps, words
from percorso.storage.commits import HOUR_MS
from percorso.storage.database import ReadSession, WriteSession, reading
from percorso.storage.rollups import Key, Row

_LONGEST_SECONDS: Final = 1_800.0
_ROWS: Final = 2_000
"""Interactions read at once: some 15 ms of work, which other threads wait for."""
_FEW_HOURS: Final = 48
"""So many hours of a month are looked up one by one; for more of them the month is gone through once."""
_DAY_HOURS: Final = 24
Rest = Callable[[float], Awaitable[None]]
"""Rests after so many seconds of work."""
_EVERY: Final = sorted({*OF_ALL, *OF_ONE, Dimension.VOLUME})


class Hours:
    """Makes hours anew; it remembers the ids of words."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._words: dict[str, int] = {}

    async def renew(self, hours: Sequence[int], rest: Rest) -> None:
        """Make these hours since 1970 anew, all of one month and in order, with a rest after each piece of work."""
        async with reading(self._engine, seconds=_LONGEST_SECONDS) as reader:
            session = WriteSession(reader)
            async with rollups.held(session):
                touchpoint_ids = await recounting.touchpoints(reader)
                observer = Observer()
                async with session.transaction():
                    await self._observe(observer, reader, hours, touchpoint_ids, rest)
                async with session.transaction():
                    await self._register(session, observer)
                observed = await asyncio.to_thread(observer.observed, self._words)
                await _replace(session, hours, observed, [EVERYWHERE, *touchpoint_ids], rest)
        metrics.ROLLUP_HOURS.inc(len(hours))
        metrics.ROLLUP_INTERACTIONS.inc(len(observed.at))

    async def _observe(
        self, observer: Observer, session: ReadSession, hours: Sequence[int], touchpoint_ids: Sequence[int], rest: Rest
    ) -> None:
        """Read the facts of these hours, and of those between them where there are many."""
        one_by_one = len(hours) <= _FEW_HOURS
        for first, last in _runs(hours) if one_by_one else [(hours[0], hours[-1])]:
            low, high = (ids.first_id_at(_moment(hour)) for hour in (first, last + 1))
            begun = monotonic()
            async for rows in recounting.facts(
                session, low, high, touchpoint_ids if one_by_one else None, at_once=_ROWS
            ):
                found = await outcomes.of(session, [row["id"] for row in rows])
                by_id = {(each.interaction_id, each.identity_id): each for each in found}
                await asyncio.to_thread(observer.add, rows, by_id)
                await rest(monotonic() - begun)
                begun = monotonic()

    async def _register(self, session: WriteSession, observer: Observer) -> None:
        """See that all words that were met have ids."""
        new = [word for word in observer.words.met if word not in self._words]
        if new:
            known = await words.register(session, new)
            self._words |= known


async def _replace(
    session: WriteSession, hours: Sequence[int], observed: Observed, scopes: Sequence[int], rest: Rest
) -> None:
    """Put what was observed in these hours of a month in the place of what stood for them, up to the year.

    A transaction for each day, and one for the month and the year.
    """
    reader = ReadSession(session)
    of_days: dict[int, Whole] = {}
    for number, some in groupby(hours, lambda hour: hour // _DAY_HOURS):
        start = _moment(number * _DAY_HOURS)
        of = [hour % _DAY_HOURS for hour in some]
        begun = monotonic()
        before = await _stored(reader, scopes, _EVERY, Level.HOUR, start)
        part = days.between(observed, ids.unix_ms(start), ids.unix_ms(start) + days.DAY_MS)
        made, changes, whole = await asyncio.to_thread(_made, part, ids.unix_ms(start), of, before)
        rows = [steps.Row(bucket, start + timedelta(hours=hour), each) for (bucket, hour), each in made.steps.items()]
        async with session.transaction():
            await _put(session, Level.HOUR, start, changes)
            await steps.put(session, [start + timedelta(hours=hour) for hour in of], rows, buckets=BUCKETS)
        of_days[start.day] = whole
        await rest(monotonic() - begun)
    month = _moment(hours[0]).replace(day=1, hour=0)
    async with session.transaction():
        whole = await _above(session, Level.DAY, month, of_days)
        await _above(session, Level.MONTH, month.replace(month=1), {month.month: whole})


async def _above(session: WriteSession, level: Level, start: datetime, slots: Mapping[int, Whole]) -> Whole:
    """Put what days or months came to in the place of what stood for them; all that the month or year then came to."""
    before = await _stored(ReadSession(session), [EVERYWHERE], OF_ALL, level, start)
    changes, whole = await asyncio.to_thread(replacing.above, before, slots)
    await _put(session, level, start, changes)
    return whole


def _made(
    part: Observed, start_ms: int, hours: Sequence[int], before: Mapping[Place, Stored]
) -> tuple[days.Day, Changes, Whole]:
    """What a day comes to, and what changes by it."""
    of = (part.at - start_ms) // HOUR_MS
    # Where many hours are made anew, those between them were read too.
    made = days.day_of(part if len(hours) == _DAY_HOURS else days.only(part, np.isin(of, hours)), start_ms)
    return made, *replacing.day(before, hours, made)


async def _stored(
    session: ReadSession, scopes: Sequence[int], dimensions: Sequence[Dimension], level: Level, start: datetime
) -> dict[Place, Stored]:
    found = await recounting.rows(session, scopes, dimensions, level, start)
    return {(row.key.scope, Dimension(row.key.dimension)): Stored(*row[1:]) for row in found}


async def _put(session: WriteSession, level: Level, start: datetime, changes: Changes) -> None:
    """Store what changed."""
    keys = {place: Key(*place, level, start) for place in changes}
    await rollups.put(session, [Row(keys[place], *row) for place, row in changes.items() if row is not None])
    await rollups.delete(session, [keys[place] for place, row in changes.items() if row is None])


def _runs(hours: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of hours on end."""
    first = last = None
    for hour in hours:
        if first is None or last is None or hour != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = hour
        last = hour
    if first is not None and last is not None:
        yield first, last


def _moment(hour: int) -> datetime:
    return ids.from_unix_ms(hour * HOUR_MS)
