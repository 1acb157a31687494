"""Subscriptions of the feed: what they are, how they do, whom there is to tell."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.api_keys import IS_VALID
from percorso.queries.cursor import Page
from percorso.queries.feed import SIZE, Position, unpacked
from percorso.storage.database import ReadSession
from percorso.storage.feed_subscriptions import PROTOCOL, Paused

_COLUMNS: Final = (
    "s.subscription_id, s.key_id, s.name, s.callback, s.query, s.secret, s.earlier_secret, s.earlier_until, "
    "s.created_at, s.generation, s.xid8, s.number, s.paused, s.failures, s.failing_since, s.next_at, s.taken_at"
)
_LETTERS: Final = "dead-letters"


class FeedSubscription(NamedTuple):
    """A subscription of the feed."""

    subscription_id: UUID
    key_id: UUID
    name: str | None
    callback: str
    query: str | None
    secret: str
    earlier_secret: str | None
    earlier_until: datetime | None
    created_at: datetime
    generation: int
    xid8: int
    number: int
    paused: Paused | None
    failures: int
    failing_since: datetime | None
    next_at: datetime
    taken_at: datetime | None

    @property
    def position(self) -> Position:
        """Where it stands in the feed."""
        return Position(self.generation, self.xid8, self.number)


class Doing(NamedTuple):
    """How a subscription does: since when what comes next waits, None where nothing does; what it did not take."""

    waiting_since: datetime | None
    set_aside: int
    dead: int


class DeadLetter(NamedTuple):
    """An event that was not taken; `next_at` is None where it is not tried again."""

    position: Position
    event: str
    at: datetime
    first_failed_at: datetime
    tries: int
    status: int | None
    next_at: datetime | None


async def of_key(session: ReadSession, key_id: UUID | None) -> list[FeedSubscription]:
    """The subscriptions of a key; None: of every key. Reads all there are: they are few."""
    rows = await session.fetch(
        f"SELECT {_COLUMNS} FROM subscriptions s WHERE s.protocol = $1 AND s.key_id = coalesce($2, s.key_id) "
        "ORDER BY s.created_at, s.subscription_id",
        PROTOCOL,
        key_id,
    )
    return [FeedSubscription(*row) for row in rows]


async def one(session: ReadSession, subscription_id: UUID, key_id: UUID | None) -> FeedSubscription:
    """A subscription of a key, None: of whichever; NotFound. Relies on the primary key."""
    row = await session.fetchrow(
        f"SELECT {_COLUMNS} FROM subscriptions s WHERE s.subscription_id = $1 AND s.protocol = $2 "
        "AND s.key_id = coalesce($3, s.key_id)",
        subscription_id,
        PROTOCOL,
        key_id,
    )
    if row is None:
        raise NotFound("No subscription of this key has this id.")
    return FeedSubscription(*row)


async def doing(session: ReadSession, subscription: FeedSubscription) -> Doing:
    """How a subscription does. Relies on the primary keys of each partition of commits and of dead letters."""
    position = subscription.position
    row = await session.fetchrow(
        "SELECT (SELECT at FROM commits WHERE (generation, xid8) >= ($2, $3) "
        "AND (xid8 < pg_snapshot_xmin(pg_current_snapshot()) OR generation < (SELECT generation FROM deployment)) "
        "ORDER BY generation, xid8 LIMIT 1), count(next_at), count(*) - count(next_at) "
        "FROM dead_letters WHERE subscription_id = $1",
        subscription.subscription_id,
        position.generation,
        position.xid8 + position.passed,
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return Doing(*row)


async def due(session: ReadSession) -> list[FeedSubscription]:
    """Those that may be told something now. Reads all there are: they are few."""
    rows = await session.fetch(
        f"SELECT {_COLUMNS} FROM subscriptions s JOIN api_keys k USING (key_id) "
        f"WHERE s.protocol = $1 AND s.paused IS NULL AND s.next_at <= now() AND {IS_VALID}",
        PROTOCOL,
    )
    return [FeedSubscription(*row) for row in rows]


async def due_letters(session: ReadSession, subscription_id: UUID, *, limit: int) -> list[DeadLetter]:
    """What was not taken and is to be tried again now. Relies on the primary key."""
    rows = await session.fetch(
        "SELECT generation, xid8, number, event, at, first_failed_at, tries, status, next_at FROM dead_letters "
        "WHERE subscription_id = $1 AND next_at <= now() ORDER BY generation, xid8, number LIMIT $2",
        subscription_id,
        limit,
    )
    return _letters(rows)


async def letters(session: ReadSession, subscription_id: UUID, *, limit: int, after: str | None) -> Page[DeadLetter]:
    """A page of what was not taken, in the order of the feed. Relies on the primary key."""
    position = Position(0, 0, 0) if after is None else unpacked(cursor.decode(after, list_=_LETTERS, size=SIZE))
    rows = await session.fetch(
        "SELECT generation, xid8, number, event, at, first_failed_at, tries, status, next_at FROM dead_letters "
        "WHERE subscription_id = $1 AND (generation, xid8, number) > ($2, $3, $4) "
        "ORDER BY generation, xid8, number LIMIT $5",
        subscription_id,
        *position,
        limit + 1,
    )
    found = _letters(rows)
    if len(found) <= limit:
        return Page(found, None)
    return Page(found[:-1], cursor.encode(found[-2].position.packed(), list_=_LETTERS))


def _letters(rows: Sequence[Record]) -> list[DeadLetter]:
    return [DeadLetter(Position(*row[:3]), *row[3:]) for row in rows]
