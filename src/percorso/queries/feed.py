"""The feed: what was stored and changed, in the order of commits, by a cursor that passes nothing over.

A cursor stands within a transaction: `(generation, xid8)` is the transaction, `number` the next of the events that its
rows of the commit log come to. Only transactions are read that no open one can come before, as `followers` has it; so
whatever is committed later comes later, and every reader sees the same order. Where a page comes to the end of what can
be read, its cursor goes up to the first transaction that was still open: it stays good while nothing happens.
"""

import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.errors import CursorGone, InvalidRequest, Problem
from percorso.queries import cursor
from percorso.queries.feed_kinds import KINDS, Among, Made, Numbered, Row, Wanted, wanted_kinds
from percorso.storage.database import ReadSession

LIST: Final = "feed"
_ALL: Final = 2**32 - 1
"""The number of a cursor that has passed a transaction."""
_POSITION: Final = struct.Struct(">iQI")
SIZE: Final = _POSITION.size
"""The bytes of a position."""
_ROWS: Final = 100
"""Rows of the commit log read at once."""
_TOGETHER: Final = 100
"""Interactions looked up at once, where some of them may not be wanted."""
_LOOKED_AT: Final = 5_000
"""Events looked at for one page, however few of them are wanted."""
_BYTES: Final = 2 * 1024 * 1024
"""A page ends once its interactions have so many."""


class Position(NamedTuple):
    """A place in the feed, between two events: `number` is that of the next one of this transaction."""

    generation: int
    xid8: int
    number: int

    def packed(self) -> bytes:
        """It as bytes."""
        return _POSITION.pack(*self)

    def encoded(self) -> str:
        """The cursor that stands for it."""
        return cursor.encode(self.packed(), list_=LIST)

    @property
    def passed(self) -> bool:
        """Whether nothing more of its transaction is to come."""
        return self.number == _ALL


class Item(NamedTuple):
    """An event of the feed: which it is, when it was committed, what it says, and where the feed goes on after it."""

    id: str
    at: datetime
    made: Made
    position: Position
    after: Position


class FeedPage(NamedTuple):
    """Events in order, where the feed goes on, and whether this is all there is by now.

    `passed` says whether any commit lies between, with whatever events.
    """

    items: Sequence[Item]
    next: Position
    caught_up: bool
    passed: bool


class Edges(NamedTuple):
    """The ends of the feed: up to where the log was dropped, up to where it can be read, and what cannot be yet."""

    dropped: Position
    end: Position
    future: Position


def unpacked(packed: bytes) -> Position:
    """The position that these bytes are of."""
    return Position(*_POSITION.unpack(packed))


def decode(given: str, *, pointer: str) -> Position:
    """The position of a cursor; InvalidRequest at the pointer where it is none."""
    try:
        return unpacked(cursor.decode(given, list_=LIST, size=SIZE))
    except InvalidRequest:
        problem = Problem(pointer, "must be `now`, or a cursor of the feed: its `next_cursor`, or that of an item")
    raise InvalidRequest("That is no cursor of the feed.", problems=[problem])


async def edges(session: ReadSession) -> Edges:
    """Where the feed begins and ends at this moment."""
    row = await session.fetchrow(
        "SELECT d.generation, pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text, f.generation, f.xid8 "
        "FROM deployment d CROSS JOIN pg_current_snapshot() AS s LEFT JOIN commit_floor f ON true"
    )
    assert row is not None  # noqa: S101 - it is made at the first start
    generation, low, high, floor_generation, floor = row
    return Edges(
        Position(0, 0, 0) if floor is None else Position(floor_generation, floor, _ALL),
        Position(generation, int(low) - 1, _ALL),
        Position(generation, int(high), 0),
    )


async def newest(session: ReadSession) -> Position:
    """Where the last transaction that can be read ends. Relies on the primary key of each partition of commits."""
    row = await session.fetchrow(
        "SELECT generation, xid8 FROM commits WHERE xid8 < pg_snapshot_xmin(pg_current_snapshot()) "
        "OR generation < (SELECT generation FROM deployment) ORDER BY generation DESC, xid8 DESC LIMIT 1"
    )
    return Position(0, 0, 0) if row is None else Position(row[0], row[1], _ALL)


async def page(session: ReadSession, after: Position | None, wanted: Wanted, *, limit: int) -> FeedPage:
    """The next events that are wanted, at most `limit`; None: from the oldest that are kept.

    It may have fewer, and even none, before the end: no more than some thousand events are looked at. Raises CursorGone
    where the log was dropped that came after the position. Relies on the primary keys of commits, of interactions and
    of their revisions.
    """
    begun = await edges(session)
    position = begun.dropped if after is None else after
    if position > begun.future:
        raise gone("It is ahead of the database, which was restored from before it.", begun)
    among = await _identities(session, wanted.customers) if wanted.customers else None
    found = await _Reading(session, wanted, among, limit, position, begun.end).page()
    # What is dropped is written down before it is gone: so this sees it if anything was missing above.
    now = await edges(session)
    if position < now.dropped:
        if after is None:
            return await page(session, None, wanted, limit=limit)
        raise gone("What came after it is no longer kept.", now)
    return found


def gone(why: str, now: Edges) -> CursorGone:
    """The error that says that the feed cannot go on from a cursor, and from where it can."""
    return CursorGone(
        f"The feed cannot go on from this cursor. {why} Go on from `oldest_cursor`, or take `now_cursor`, "
        "export what is stored, and go on from there.",
        oldest_cursor=now.dropped.encoded(),
        now_cursor=now.end.encoded(),
    )


class _Slice(NamedTuple):
    """Events of a row: their numbers in it, the number of its first in its transaction, and how many that has."""

    row: Row
    numbers: range
    first: int
    total: int


class _Reading:
    """One page being read."""

    def __init__(
        self, session: ReadSession, wanted: Wanted, among: Among, limit: int, position: Position, end: Position
    ) -> None:
        self._session = session
        self._wanted = wanted
        self._among = among
        self._limit = limit
        self._at = position
        self._end = end
        self._kinds = list(wanted_kinds(wanted))
        self._items: list[Item] = []
        self._looked = 0
        self._size = 0

    async def page(self) -> FeedPage:
        """Read it."""
        while True:
            most = _LOOKED_AT - self._looked if self._wanted.narrow else self._limit - len(self._items)
            rows, last = await _rows(self._session, self._at, self._kinds, most=most)
            if await self._read(rows):
                return FeedPage(self._items, self._at, caught_up=False, passed=True)
            if rows:
                self._looked += len(rows)
                self._at = Position(rows[-1].generation, rows[-1].xid8, _ALL)
            if last:
                self._at = max(self._at, self._end)
                return FeedPage(self._items, self._at, caught_up=True, passed=self._looked > 0)
            if self._looked >= _LOOKED_AT:
                return FeedPage(self._items, self._at, caught_up=False, passed=True)

    async def _read(self, rows: Sequence[Row]) -> bool:
        """Take what is wanted of these rows, some events at a time, of however many rows; whether the page ends."""
        some: list[_Slice] = []
        size = 0
        for row, start, first, total in _events(rows, self._at):
            if row.what not in self._kinds:
                continue
            count = _count(row)
            while start < count:
                stop = min(start + self._step() - size, count)
                some.append(_Slice(row, range(start, stop), first, total))
                size += stop - start
                start = stop  # noqa: PLW2901 - it goes through the row
                if size >= self._step():
                    if await self._take(some):
                        return True
                    some, size = [], 0
        return bool(some) and await self._take(some)

    async def _take(self, slices: "Sequence[_Slice]") -> bool:
        """Take what is wanted of these; whether the page ends."""
        for (row, numbers, first, total), made in zip(slices, await self._made(slices), strict=True):
            here = row.generation, row.xid8
            for number, each in made:
                at = first + number
                if self._add(row, each, Position(*here, at), _beyond(*here, at + 1, total)):
                    return True
            self._looked += len(numbers)
            self._at = _beyond(*here, first + numbers.stop, total)
        return self._looked >= _LOOKED_AT

    async def _made(self, slices: "Sequence[_Slice]") -> list[Numbered]:
        """The events of each of these: all those of a kind are read at once."""
        made: list[Numbered] = [[] for _ in slices]
        for what in {each.row.what for each in slices}:
            places = [place for place, each in enumerate(slices) if each.row.what == what]
            parts = [(slices[place].row, slices[place].numbers) for place in places]
            found = await KINDS[what].read(self._session, parts, self._wanted, self._among)
            for place, each in zip(places, found, strict=True):
                made[place] = each
        return made

    def _step(self) -> int:
        """How many events to read next."""
        return _TOGETHER if self._wanted.narrow else min(self._limit - len(self._items), _TOGETHER)

    def _add(self, row: Row, made: Made, position: Position, after: Position) -> bool:
        """Add an event; whether the page is full."""
        self._items.append(Item(id_of(position), row.at, made, position, after))
        self._at = after
        self._size += 0 if made.found is None else len(made.found.document)
        return len(self._items) >= self._limit or self._size >= _BYTES


def id_of(position: Position) -> str:
    """The id of the event at this place: always the same, whoever reads it."""
    return f"{position.generation}-{position.xid8}-{position.number}"


def _beyond(generation: int, xid8: int, number: int, total: int) -> Position:
    """The place before the event of this number; beyond the transaction where it has no more."""
    return Position(generation, xid8, number if number < total else _ALL)


def _count(row: Row) -> int:
    return KINDS[row.what].count(row) if row.what in KINDS else 0


def _events(rows: Sequence[Row], begin: Position) -> Iterator[tuple[Row, int, int, int]]:
    """Of each row: where its events are to begin, the number of its first in its transaction, and how many that has.

    What an erasure leaves in the place of what it deletes are counts of nobody's: told beside the deletions, they would
    say whose they were.
    """
    for here, group in groupby(rows, key=lambda row: row[:2]):
        together = list(group)
        total = sum(_count(row) for row in together)
        erasing = any(row.what == "deleted" for row in together)
        first = 0
        for row in together:
            if not (erasing and row.what == "stored"):
                yield row, max(begin.number - first, 0) if begin[:2] == here else 0, first, total
            first += _count(row)


async def _rows(session: ReadSession, at: Position, kinds: Sequence[str], *, most: int) -> tuple[list[Row], bool]:
    """The next rows of the commit log, all those of a transaction together; whether these are all there are.

    There are no more than come to about `most` events, or than the first transaction has. Rows of other kinds come
    without their ids. Relies on the primary key `(generation, xid8, at)` of each partition.
    """
    rows = await session.fetch(
        "SELECT generation, xid8, at, what, CASE WHEN interactions = 0 AND what = 'deleted' THEN hours[1] END, "
        "identities, interactions, CASE WHEN what = ANY($5) THEN identity_ids ELSE '{}' END, "
        "CASE WHEN what = ANY($5) THEN interaction_ids ELSE '{}' END, read FROM ("
        "SELECT *, count(*) OVER () AS read, sum(greatest(identities, interactions)) OVER ("
        "ORDER BY generation, xid8 GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM ("
        "SELECT *, cardinality(identity_ids) AS identities, cardinality(interaction_ids) AS interactions FROM commits "
        "WHERE (generation, xid8) >= ($1, $2) "
        "AND (xid8 < pg_snapshot_xmin(pg_current_snapshot()) OR generation < (SELECT generation FROM deployment)) "
        "ORDER BY generation, xid8 FETCH FIRST $3 ROWS WITH TIES) AS next) AS counted "
        "WHERE coalesce(before, 0) <= $4 ORDER BY generation, xid8, at",
        at.generation,
        at.xid8 + at.passed,
        _ROWS,
        most,
        list(kinds),
    )
    last = not rows or (len(rows) == rows[0]["read"] and len(rows) < _ROWS)
    return [Row(*row[:-1]) for row in rows], last


async def _identities(session: ReadSession, customers: Sequence[UUID]) -> frozenset[UUID]:
    """All identities of the customers that these belong to; whoever is not known stands for itself.

    Relies on the primary key of identities and on `identities_customer_id_idx`.
    """
    rows = await session.fetch(
        "SELECT of.identity_id FROM identities one JOIN identities of ON of.customer_id = one.customer_id "
        "WHERE one.identity_id = ANY($1)",
        list(customers),
    )
    return frozenset((*customers, *(row["identity_id"] for row in rows)))
