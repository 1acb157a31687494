"""Quarantine: what was refused, newest first, and how often for which reason.

A list or a count is led by one index, of the sender's id, the source, the state or, for all else, time: the first of
these that is given. Its other filters are held against what the index leads to, of which a call looks through so many
items at most: a page that is short though more may follow says where to go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

COLUMNS = (
    "rejection_id, received_at, source, sender_id, channel, errors, reasons, payload, size, format, state, handled_at, "
    "handled_by, interaction_id, replay_errors"
)
REPLAYING = "rejection_id, received_at, source, payload, size, format, state, interaction_id, replay_key"
"""What a replay needs of an item."""

MOST_LOOKED_THROUGH: Final = 100_000
"""How many items a call looks through."""
_AT_ONCE: Final = 10_000
_MOST_GROUPS: Final = 200
_LIST: Final = "rejected"

Grouping = Literal["reason", "pointer", "source", "format", "channel", "state", "hour"]

_LEADS: Final = ("sender_id", "source", "state")
_FITS: Final = {
    "sender_id": "sender_id = {}",
    "source": "source = {}",
    "state": "state = {}",
    "format": "format = {}",
    "channel": "channel = {}",
    "reason": "EXISTS (SELECT FROM unnest(reasons) AS said WHERE said = {0} OR starts_with(said, {0} || ':'))",
    "pointer": "EXISTS (SELECT FROM unnest(reasons) AS said WHERE substr(said, strpos(said, ':') + 1) = {})",
}
_GROUPS: Final[dict[Grouping, str]] = {
    "reason": "LATERAL unnest(reasons) AS said",
    "pointer": "LATERAL (SELECT DISTINCT substr(each, strpos(each, ':') + 1) FROM unnest(reasons) AS each) AS of(said)",
    "source": "LATERAL (VALUES (source)) AS of(said)",
    "format": "LATERAL (VALUES (format)) AS of(said)",
    "channel": "LATERAL (VALUES (channel)) AS of(said)",
    "state": "LATERAL (VALUES (state)) AS of(said)",
    "hour": "LATERAL (VALUES (to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:00:00\"Z\"'))) AS of(said)",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What quarantine is narrowed to; None does not narrow. `reason` is a whole one, or only its code."""

    sender_id: str | None = None
    source: str | None = None
    state: str | None = None
    format: str | None = None
    channel: str | None = None
    reason: str | None = None
    pointer: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items there are of each group, most first; of all groups beyond the first together: `others`.

    `items` were counted; where that is not all there are, only those since `counted_from`.
    """

    groups: Sequence[Record]
    others: int
    items: int
    counted_from: datetime | None


class _Slice(NamedTuple):
    """A query for some items, which are called `slice`, and its arguments; the first is how many at most."""

    sql: str
    arguments: list[Any]
    fits: str
    """A condition for those of them that fit."""
    whole: bool
    """Whether all do."""


async def page(session: ReadSession, filters: Filters, *, limit: int, after: str | None) -> Page[Record]:
    """One keyset page.

    Relies on `rejected_interactions_sender_id_rejection_id_idx`, `…_source_rejection_id_idx`,
    `…_state_rejection_id_idx` or the primary key: see above.
    """
    found = await find(session, filters, limit=limit, after=after)
    rows = await session.fetch(
        f"SELECT {COLUMNS} FROM rejected_interactions WHERE rejection_id = ANY($1) ORDER BY rejection_id DESC",
        found.items,
    )
    return Page(rows, found.next_cursor)


async def find(session: ReadSession, filters: Filters, *, limit: int, after: str | None) -> Page[UUID]:
    """The ids of one keyset page, newest first; relies on the same indexes as `page`."""
    found: list[UUID] = []
    before = None if after is None else UUID(cursor.decode(after, list_=_LIST, size=16))
    for _ in range(MOST_LOOKED_THROUGH // _AT_ONCE):
        part = _slice(filters, before)
        part.arguments[0] = most = limit + 1 - len(found) if part.whole else _AT_ONCE
        fitting, looked, last = await _one(
            session,
            f"{part.sql} SELECT (array_agg(rejection_id ORDER BY rejection_id DESC) FILTER (WHERE {part.fits}))"
            f"[1:{limit + 1}], count(*), "
            "(SELECT rejection_id FROM slice ORDER BY rejection_id LIMIT 1) FROM slice",
            part.arguments,
        )
        found += fitting or ()
        if len(found) > limit:
            return Page(found[:limit], _encoded(found[limit - 1]))
        if looked < most:
            return Page(found, None)
        before = last
    assert before is not None  # noqa: S101 - a whole slice was looked through
    return Page(found, _encoded(before))


async def counts(session: ReadSession, filters: Filters, *, by: Grouping) -> Counts:
    """How many of the newest items there are of each group; relies on the same indexes as `page`.

    An item with several reasons or pointers counts in the group of each.
    """
    part = _slice(filters, None)
    part.arguments[0] = MOST_LOOKED_THROUGH
    looked, items, last = await _one(
        session,
        f"{part.sql} SELECT count(*), count(*) FILTER (WHERE {part.fits}), "
        "(SELECT received_at FROM slice ORDER BY rejection_id LIMIT 1) FROM slice",
        part.arguments,
    )
    groups = await session.fetch(
        f"{part.sql}, grouped AS (SELECT said, count(*) AS items FROM slice, {_GROUPS[by]} WHERE {part.fits} "
        "GROUP BY said) "
        "SELECT said, items, sum(items) OVER () AS together FROM grouped "
        f"ORDER BY items DESC, said NULLS LAST LIMIT {_MOST_GROUPS}",
        *part.arguments,
    )
    others = int(groups[0]["together"]) - sum(group["items"] for group in groups) if groups else 0
    return Counts(groups, others, items, last if looked == MOST_LOOKED_THROUGH else None)


async def remaining(session: ReadSession, filters: Filters, after: str) -> int | None:
    """How many items fit after a page; None where that is more than is looked through. Relies on the same indexes."""
    part = _slice(filters, UUID(cursor.decode(after, list_=_LIST, size=16)))
    part.arguments[0] = MOST_LOOKED_THROUGH
    looked, items = await _one(
        session, f"{part.sql} SELECT count(*), count(*) FILTER (WHERE {part.fits}) FROM slice", part.arguments
    )
    return None if looked == MOST_LOOKED_THROUGH else items


async def by_id(session: ReadSession, rejection_id: UUID) -> Record:
    """The rejected item of this id. Relies on the primary key."""
    row = await session.fetchrow(f"SELECT {COLUMNS} FROM rejected_interactions WHERE rejection_id = $1", rejection_id)
    if row is None:
        raise NotFound("No rejected item has this id.")
    return row


async def to_replay(session: ReadSession, rejection_ids: Sequence[UUID]) -> dict[UUID, Record]:
    """What a replay needs of these items, by id; of those that there are. Relies on the primary key."""
    rows = await session.fetch(
        f"SELECT {REPLAYING} FROM rejected_interactions WHERE rejection_id = ANY($1)", rejection_ids
    )
    return {row["rejection_id"]: row for row in rows}


def _slice(filters: Filters, before: UUID | None) -> _Slice:
    """The newest items before this one that the filters' own index leads to.

    The pair of column and id is compared as one, and ordered by: only that index can serve it, however many or few
    items the database takes there to be.
    """
    high = ids.HIGHEST if filters.until is None else ids.first_id_at(filters.until)
    arguments: list[Any] = [
        0,
        ids.LOWEST if filters.since is None else ids.first_id_at(filters.since),
        high if before is None else min(high, before),
    ]
    given = {each.name: value for each in fields(filters) if (value := getattr(filters, each.name)) is not None}
    lead = next((name for name in _LEADS if name in given), None)
    if lead is None:
        range_, order = "rejection_id >= $2 AND rejection_id < $3", "rejection_id DESC"
    else:
        arguments.append(given[lead])
        range_ = f"({lead}, rejection_id) >= ($4, $2) AND ({lead}, rejection_id) < ($4, $3)"
        order = f"{lead} DESC, rejection_id DESC"
    conditions = []
    for name, fits in _FITS.items():
        if name in given and name != lead:
            arguments.append(given[name])
            conditions.append(fits.format(f"${len(arguments)}::text"))
    sql = (
        "WITH slice AS MATERIALIZED (SELECT rejection_id, received_at, source, sender_id, channel, reasons, format, "
        f"state FROM rejected_interactions WHERE {range_} ORDER BY {order} LIMIT $1)"
    )
    return _Slice(sql, arguments, " AND ".join(conditions) or "true", not conditions)


async def _one(session: ReadSession, sql: str, arguments: Sequence[Any]) -> Record:
    row = await session.fetchrow(sql, *arguments)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row


def _encoded(rejection_id: UUID) -> str:
    return cursor.encode(rejection_id.bytes, list_=_LIST)
