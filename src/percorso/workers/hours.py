"""Hours made anew: their facts are read, and what they come to takes the place of what was stored."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from time import monotonic
from typing import Final

import numpy as np
from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.analytics import days, observe, replacing
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
Changed = Mapping[int, Collection[tuple[UUID, UUID]]]
"""Interactions by hour since 1970, each as its identity and its id."""
_KEPT: Final = 2
_LONG: Final = 20_000
_LONGEST: Final = 2_000_000
"""So many hours are remembered, of so many interactions each: some 200 MB for a million."""
_EVERY: Final = sorted({*OF_ALL, *OF_ONE, Dimension.VOLUME})


class Hours:
    """Makes hours anew. It remembers the ids of words; and of long hours what was observed, for the next time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._words: dict[str, int] = {}
        self._kept: dict[int, Observed] = {}

    def forget(self) -> None:
        """Rely on nothing that was remembered."""
        self._words.clear()
        self._kept.clear()

    async def renew(self, hours: Sequence[int], rest: Rest, changed: Changed | None = None) -> None:
        """Make these hours since 1970 anew, all of one month and in order, with a rest after each piece of work.

        What is `changed` of an hour is all that is, since this was last done: a long one need not be read again.
        """
        kept = {hour: self._kept.pop(hour) for hour in hours if hour in self._kept}
        # Where a month is gone through, these hours are read too.
        changed = changed if changed and len(hours) <= _FEW_HOURS else {}
        kept = {hour: part for hour, part in kept.items() if hour in changed}
        async with reading(self._engine, seconds=_LONGEST_SECONDS) as reader:
            session = WriteSession(reader)
            async with rollups.held(session):
                touchpoint_ids = await recounting.touchpoints(reader)
                observer = Observer()
                async with session.transaction():
                    whole = [hour for hour in hours if hour not in kept]
                    await _observe(observer, reader, whole, touchpoint_ids, rest)
                    for hour in kept:
                        await _observe_these(observer, reader, hour, changed[hour])
                async with session.transaction():
                    await self._register(session, observer)
                observed = await asyncio.to_thread(self._joined, observer, kept, changed)
                await _replace(session, hours, observed, [EVERYWHERE, *touchpoint_ids], rest)
        metrics.ROLLUP_HOURS.inc(len(hours))
        metrics.ROLLUP_INTERACTIONS.inc(observer.rows)
        self._keep(hours, observed)

    def _joined(self, observer: Observer, kept: Mapping[int, Observed], changed: Changed) -> Observed:
        """What was observed now, and before where that has not changed."""
        before = [
            observe.without(part, {interaction for _, interaction in changed[hour]}) for hour, part in kept.items()
        ]
        return observe.joined([observer.observed(self._words), *before])

    def _keep(self, hours: Sequence[int], observed: Observed) -> None:
        """Remember the last hours, where they are long."""
        for hour in hours[-_KEPT:]:
            low, high = np.searchsorted(observed.at, (hour * HOUR_MS, (hour + 1) * HOUR_MS))
            if _LONG <= high - low <= _LONGEST:
                of = np.zeros(len(observed.at), np.bool_)
                of[low:high] = True
                self._kept[hour] = observe.only(observed, of)
        for hour in sorted(self._kept)[:-_KEPT]:
            del self._kept[hour]

    async def _register(self, session: WriteSession, observer: Observer) -> None:
        """See that all words that were met have ids."""
        new = [word for word in observer.words.met if word not in self._words]
        if new:
            known = await words.register(session, new)
            self._words |= known


async def _observe(
    observer: Observer, session: ReadSession, hours: Sequence[int], touchpoint_ids: Sequence[int], rest: Rest
) -> None:
    """Read the facts of these hours, and of those between them where there are many."""
    one_by_one = len(hours) <= _FEW_HOURS
    for first, last in _runs(hours) if one_by_one else [(hours[0], hours[-1])]:
        low, high = (ids.first_id_at(_moment(hour)) for hour in (first, last + 1))
        begun = monotonic()
        async for rows in recounting.facts(session, low, high, touchpoint_ids if one_by_one else None, at_once=_ROWS):
            await _add(observer, session, rows)
            await rest(monotonic() - begun)
            begun = monotonic()


async def _observe_these(
    observer: Observer, session: ReadSession, hour: int, changed: Collection[tuple[UUID, UUID]]
) -> None:
    """Read those of these interactions that there are."""
    low, high = (ids.first_id_at(_moment(each)) for each in (hour, hour + 1))
    pairs = list(set(changed))
    for start in range(0, len(pairs), _ROWS):
        await _add(observer, session, await recounting.these(session, pairs[start : start + _ROWS], low, high))


async def _add(observer: Observer, session: ReadSession, rows: Sequence[Record]) -> None:
    """Observe these, with what came of them."""
    found = await outcomes.of(session, [row["id"] for row in rows])
    by_id = {(each.interaction_id, each.identity_id): each for each in found}
    await asyncio.to_thread(observer.add, rows, by_id)


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
    made = days.day_of(part if len(hours) == _DAY_HOURS else observe.only(part, np.isin(of, hours)), start_ms)
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
