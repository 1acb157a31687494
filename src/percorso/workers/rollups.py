"""Keeps rollups and steps: what happened, in cells that add up, always equal to the facts that were committed by then.

It follows the commit log, and makes the hours anew that are named there: by what was stored, changed or deleted in
them, by what came of contacts, and by identities whose interactions now count under another customer. A first pass goes
through all months there are, the oldest first. Hours are made anew some days at a time, under a lock on rollups that is
taken before the facts are read: so two that do this at once do no harm, nor does doing the same hours again. The cursor
moves once all hours that were named before it are done.

Whatever is done is done in slices, with a rest after each: half as long as it took on a quiet system, several times as
long while others store something.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from time import monotonic
from typing import Final

from asyncpg.pgproto.pgproto import UUID
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso import ids
from percorso.ops import metrics
from percorso.queries import followers, recounting, refreshing, retention
from percorso.queries.followers import Follower
from percorso.queries.recounting import FOLLOWER, Commit
from percorso.queries.retention import Part
from percorso.storage import counted
from percorso.storage import followers as cursors
from percorso.storage.commits import HOUR_MS
from percorso.storage.database import reading, writing
from percorso.workers.following import follower_of
from percorso.workers.hours import Hours
from percorso.workers.runtime import Worker

_EVERY_SECONDS: Final = 2.0
_COMMITS: Final = 200
"""Rows of the commit log read at once."""
_NAMED: Final = 100_000
"""Once so many identities are named by them, the others wait for the next time."""
_IDENTITIES: Final = 5_000
_TOGETHER: Final = 500_000
"""Interactions whose hours are made anew by one transaction, about: some hundred MB."""
_REST: Final = 4.0
"""The rest after a slice while others store something, in times of what it took; of hours made anew the same."""
_LATELY: Final = timedelta(seconds=5)
"""Others store something where they did so within this time."""
_QUIET_REST: Final = 0.5
_LONGEST_REST_SECONDS: Final = 25.0
_FEW_HOURS: Final = 6
_DAY_HOURS: Final = 24
_ROW_BYTES: Final = 1_200
"""Of a partition, with its indexes: by it the rows are guessed where they were never counted."""


def worker(engine: AsyncEngine, *, generation: int) -> Worker:
    """The worker that does so."""
    return Worker(FOLLOWER, _EVERY_SECONDS, Rollups(engine, generation=generation).run)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What rows of the commit log come to: hours since 1970, identities that count anew, the last row.

    `changed` is all that changed in those of the hours of which only single interactions are named.
    """

    hours: set[int]
    changed: dict[int, list[tuple[UUID, UUID]]]
    becoming: dict[UUID, UUID]
    last: Commit


class Rollups:
    """What a leader remembers: when it is to look at the commit log again.

    While others store something, it rests `rest` times as long as it worked.
    """

    def __init__(self, engine: AsyncEngine, *, generation: int, rest: float = _REST) -> None:
        self._engine = engine
        self._rest_times = rest
        self._generation = generation
        self._hours = Hours(engine)
        self._at = 0.0
        self._rested_for = 0.0
        self._left: tuple[int, int] | None = None

    async def run(self) -> bool:
        """Do some of everything that is to be done; whether there is more."""
        follower = await follower_of(self._engine, FOLLOWER, generation=self._generation)
        if follower.filled_to == ids.LOWEST:
            return await self._begin()
        more = await self._follow(follower)
        if follower.filled_to is not None:
            more |= await self._fill(follower.filled_to)
        await self._tell()
        return more

    async def _begin(self) -> bool:
        """Learn who counts as whom, before anything is counted."""
        after: UUID | None = ids.LOWEST
        while after is not None:
            async with reading(self._engine) as session:
                pairs, after = await recounting.merged_identities(session, after, limit=_IDENTITIES)
            if pairs:
                async with writing(self._engine) as session:
                    await counted.begin(session, pairs)
        async with reading(self._engine) as session:
            months = await retention.months(session)
        async with writing(self._engine) as session:
            await cursors.fill(session, FOLLOWER, ids.first_id_at(months[0].first) if months else None)
        return True

    async def _follow(self, follower: Follower) -> bool:
        """Take the next rows of the commit log, unless that was done just now."""
        begun = monotonic()
        if begun < self._at:
            return False
        self._rested_for = 0.0
        if self._left != follower[:2]:
            # Another has led meanwhile, or this one failed: what changed was not told here.
            self._hours.forget()
        taken = await self._next(follower)
        if taken is None:
            self._left = follower[:2]
            return False
        self._left = None
        if taken.becoming:
            async with writing(self._engine) as session:
                await counted.mark(session, taken.becoming)
            async with reading(self._engine) as session:
                moved = await recounting.hours_of(session, list(taken.becoming))
            taken.hours.update(moved)
            for hour in moved:
                taken.changed.pop(hour, None)
        await self._renew(taken)
        async with writing(self._engine) as session:
            if taken.becoming:
                await counted.settle(session, taken.becoming)
            await cursors.advance(session, FOLLOWER, taken.last.generation, taken.last.xid8)
        self._left = taken.last[:2]
        # Where much is stored, the present hour is named every time and is long.
        self._at = monotonic() + await self.pause(monotonic() - begun - self._rested_for)
        return True

    async def _next(self, follower: Follower) -> _Taken | None:
        """What the next rows of the commit log come to; None: there are none."""
        hours: set[int] = set()
        whole: set[int] = set()
        changed: dict[int, list[tuple[UUID, UUID]]] = {}
        identities: set[UUID] = set()
        last: Commit | None = None
        while len(identities) < _NAMED:
            async with reading(self._engine) as session:
                commits = await recounting.next_commits(session, follower, limit=_COMMITS)
                if not commits:
                    break
                last = commits[-1]
                named = set(chain.from_iterable(each.identity_ids for each in commits if each.what in _IDENTIFYING))
                stored = set(chain.from_iterable(each.interaction_ids for each in commits if each.what == "stored"))
                identities |= named
                identities.update(await refreshing.linked_by(session, named, stored))
            for each in commits:
                of = {ids.unix_ms(hour) // HOUR_MS for hour in each.hours}
                hours |= of
                single = _by_hour(each)
                whole |= of - single.keys()
                for hour, pairs in single.items():
                    changed.setdefault(hour, []).extend(pairs)
            if any(each.what == "identity" for each in commits):
                # Words that an erased customer was named by were overwritten.
                self._hours.forget()
            follower = Follower(last.generation, last.xid8, follower.filled_to)
            if len(commits) < _COMMITS:
                break
        if last is None:
            return None
        async with reading(self._engine) as session:
            becoming = await recounting.becoming(session, identities)
        return _Taken(hours, {hour: changed[hour] for hour in changed.keys() - whole}, becoming, last)

    async def _renew(self, taken: _Taken) -> None:
        """Make these hours anew."""
        hours = taken.hours
        async with reading(self._engine) as session:
            months = await retention.months(session)
        left = len(hours)
        for some in _slices(hours, months):
            metrics.ROLLUP_HOURS_LEFT.set(left)
            # Few are done at once and rested after: whoever asks waits for them.
            await self._hours.renew(some, self._rest if len(hours) > _FEW_HOURS else _no_rest, taken.changed)
            left -= len(some)

    async def _fill(self, after: UUID) -> bool:
        """Go on with the first pass, by as many days as are made anew together."""
        first = ids.occurred_ms(after.bytes) // HOUR_MS
        async with reading(self._engine) as session:
            months = await retention.months(session)
        left = [hour for part in months for hour in _hours(part) if hour >= first]
        metrics.ROLLUP_HOURS_LEFT.set(len(left))
        some = next(_slices(left, months), [])
        if some:
            await self._hours.renew(some, self._rest)
        more = len(some) < len(left)
        following = ids.first_id_at(ids.from_unix_ms((some[-1] + 1) * HOUR_MS)) if more else None
        async with writing(self._engine) as session:
            await cursors.fill(session, FOLLOWER, following)
        return more

    async def _rest(self, seconds: float) -> None:
        """Rest after so many seconds of work."""
        begun = monotonic()
        await asyncio.sleep(await self.pause(seconds))
        self._rested_for += seconds + monotonic() - begun

    async def pause(self, seconds: float) -> float:
        """How many seconds to rest after so many of work."""
        # It is asked each time: what is taken may be old, and who stored it may have come to an end meanwhile.
        async with reading(self._engine) as session:
            latest = await recounting.latest(session)
        busy = latest is not None and datetime.now(UTC) - latest < _LATELY
        times = self._rest_times if busy else min(self._rest_times, _QUIET_REST)
        return min(seconds * times, _LONGEST_REST_SECONDS)

    async def _tell(self) -> None:
        """Tell how far behind it is."""
        async with reading(self._engine) as session:
            as_of = await followers.as_of(session, FOLLOWER)
            now = await refreshing.clock(session)
        metrics.ROLLUP_AGE.set(-1 if as_of is None else max((now - as_of).total_seconds(), 0))
        if as_of is not None:
            metrics.ROLLUP_HOURS_LEFT.set(0)


_IDENTIFYING: Final = frozenset(("stored", "identity", "said", "changed", "deleted"))
"""What may change who counts as whom; what came of contacts does not."""


def _by_hour(commit: Commit) -> dict[int, list[tuple[UUID, UUID]]]:
    """The interactions that a row of the commit log names, with their identities, by hours since 1970."""
    found: dict[int, list[tuple[UUID, UUID]]] = {}
    if commit.interaction_ids:
        for pair in zip(commit.identity_ids, commit.interaction_ids, strict=True):
            found.setdefault(ids.occurred_ms(pair[1].bytes) // HOUR_MS, []).append(pair)
    return found


async def _no_rest(_seconds: float) -> None:
    """Go on."""


def _hours(part: Part) -> range:
    """The hours since 1970 of a partition."""
    return range(ids.unix_ms(part.first) // HOUR_MS, ids.unix_ms(part.following) // HOUR_MS)


def _slices(hours: Iterable[int], months: Sequence[Part]) -> Iterator[list[int]]:
    """These hours in order, some days of a month at a time: as many as have about `_TOGETHER` interactions."""
    rows_an_hour = {part.first: max(part.rows, part.size / _ROW_BYTES) / len(_hours(part)) for part in months}
    some: list[int] = []
    month, rows = None, 0.0
    for hour in sorted(hours):
        of = ids.from_unix_ms(hour * HOUR_MS).replace(day=1, hour=0)
        new_day = bool(some) and hour // _DAY_HOURS != some[-1] // _DAY_HOURS
        if some and (of != month or (new_day and rows >= _TOGETHER)):
            yield some
            some, rows = [], 0.0
        month = of
        rows += rows_an_hour.get(of, 0)
        some.append(hour)
    if some:
        yield some
