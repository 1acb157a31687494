"""Watches, what they look at, and what they fired."""

import struct
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

FOLLOWER: Final = "watches"
"""The name of the cursor in the commit log, and of the worker."""
LONGEST_NAME: Final = 64
"""Characters in the name of a watch, each of one byte."""
MOST: Final = 2_000
"""Interactions of a customer that are looked at, the latest."""

_COLUMNS: Final = (
    "watch_id, name, description, version, rule::text AS rule, enabled, since, created_at, updated_at, updated_by"
)
_SEEN: Final = (
    "i.identity_id, i.id, i.channel, i.kind, i.function, i.direction, i.document::text, "
    "(SELECT t.slug FROM touchpoints t WHERE t.touchpoint_id = i.touchpoint_id), "
    "(SELECT m.slug FROM touchpoints t JOIN touchpoints m ON m.touchpoint_id = t.merged_into "
    "WHERE t.touchpoint_id = i.touchpoint_id)"
)
_POSITION: Final = struct.Struct(">q16s")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Watch(NamedTuple):
    """A watch that fires: the present version of its rule, as JSON, and since when."""

    watch_id: UUID
    name: str
    version: int
    rule: str
    since: datetime


class Firing(NamedTuple):
    """What fired, as it is told: the interactions in the order of the journey, of those whose identity is not erased.

    `customer_id` is whose the last interaction is now; None where no one has it any more. `number` is its place in the
    row of the commit log, which names an identity of each, from 0.
    """

    firing_id: UUID
    watch_id: UUID
    name: str
    version: int
    identity_id: UUID
    customer_id: UUID | None
    interaction_ids: Sequence[UUID]
    at: datetime
    fired_at: datetime
    generation: int
    xid8: int
    number: int


_FIRING: Final = (
    "f.firing_id, f.watch_id, f.name, f.version, f.identity_id, "
    "(SELECT i.customer_id FROM identities i WHERE i.identity_id = f.identity_id), "
    "ARRAY(SELECT e.interaction_id FROM watch_evidence e WHERE e.firing_id = f.firing_id ORDER BY e.interaction_id), "
    "f.at, f.fired_at, f.generation, f.xid8, f.number"
)


async def page(session: ReadSession, *, limit: int, after: str) -> Page[Record]:
    """One keyset page of watches, by name. Relies on the index on the name."""
    rows = await session.fetch(
        f"SELECT {_COLUMNS} FROM watches WHERE name > $1 ORDER BY name LIMIT $2", after, limit + 1
    )
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode_name(rows[-2]["name"], list_="watches", size=LONGEST_NAME))


def position(given: str) -> str:
    """The name after which the page begins that a cursor of this list leads to."""
    return cursor.decode_name(given, list_="watches", size=LONGEST_NAME)


async def by_name(session: ReadSession, name: str) -> Record:
    """The watch of this name. Relies on the index on the name."""
    row = await session.fetchrow(f"SELECT {_COLUMNS} FROM watches WHERE name = $1", name)
    if row is None:
        raise NotFound("No watch has this name.")
    return row


async def versions(session: ReadSession, watch_id: UUID) -> list[Record]:
    """Every rule that a watch had, the latest first. Relies on the primary key."""
    return await session.fetch(
        "SELECT version, rule::text AS rule, made_at, made_by FROM watch_versions WHERE watch_id = $1 "
        "ORDER BY version DESC LIMIT 100",
        watch_id,
    )


async def enabled(session: ReadSession) -> list[Watch]:
    """The watches that fire. Reads all there are: they are few."""
    rows = await session.fetch(
        "SELECT watch_id, name, version, rule::text, since FROM watches WHERE enabled ORDER BY name"
    )
    return [Watch(*row) for row in rows]


async def histories(
    session: ReadSession, members: Mapping[UUID, Sequence[UUID]], low: UUID, *, together: int
) -> AsyncGenerator[dict[UUID, list[Record]]]:
    """The interactions of customers from an id on, in no order, for `watch_rules.seen`: of all customers at once.

    Where they are more than `together`, of one customer after the other, and of each the latest MOST. Relies on the
    primary key `(identity_id, id)` of interactions, of which the id leaves few partitions, and on that of touchpoints.
    """
    customer_of = {identity: customer for customer, each in members.items() for identity in each}
    rows = await session.fetch(
        f"SELECT {_SEEN} FROM interactions i WHERE i.identity_id = ANY($1) AND i.id >= $2 LIMIT $3",
        list(customer_of),
        low,
        together + 1,
    )
    if len(rows) <= together:
        found: dict[UUID, list[Record]] = {}
        for row in rows:
            found.setdefault(customer_of[row[0]], []).append(row)
        yield found
        return
    for customer, identity_ids in members.items():
        yield {
            customer: await session.fetch(
                f"SELECT {_SEEN} FROM interactions i WHERE i.identity_id = ANY($1) AND i.id >= $2 "
                "ORDER BY i.id DESC LIMIT $3",
                list(identity_ids),
                low,
                MOST,
            )
        }


async def used(session: ReadSession, identity_ids: Collection[UUID], low: UUID) -> dict[tuple[UUID, int], set[UUID]]:
    """The interactions of these identities, from this id on, that fired before, by watch and version.

    Relies on `watch_evidence_identity_id_idx`.
    """
    rows = await session.fetch(
        "SELECT watch_id, version, interaction_id FROM watch_evidence WHERE identity_id = ANY($1) "
        "AND interaction_id >= $2",
        list(identity_ids),
        low,
    )
    found: dict[tuple[UUID, int], set[UUID]] = {}
    for row in rows:
        found.setdefault((row["watch_id"], row["version"]), set()).add(row["interaction_id"])
    return found


async def due(session: ReadSession, now: datetime, *, limit: int) -> list[tuple[UUID, datetime]]:
    """Identities of customers who are to be looked at again by now, the earliest first.

    Relies on `watch_deadlines_due_at_idx`.
    """
    rows = await session.fetch(
        "SELECT identity_id, due_at FROM watch_deadlines WHERE due_at <= $1 ORDER BY due_at LIMIT $2", now, limit
    )
    return [(row["identity_id"], row["due_at"]) for row in rows]


async def firings(
    session: ReadSession,
    watch_id: UUID,
    *,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: str | None,
) -> Page[Firing]:
    """One keyset page of what a watch fired, the latest first; `since` and `until` bound when it came true.

    Relies on `watch_firings_watch_id_at_firing_id_idx`, and on the primary keys of what each firing names.
    """
    arguments: list[Any] = [watch_id, limit + 1]
    conditions = ["f.watch_id = $1"]
    for condition, moment in (("f.at >= {}", since), ("f.at < {}", until)):
        if moment is not None:
            arguments.append(moment)
            conditions.append(condition.format(f"${len(arguments)}"))
    if after is not None:
        arguments += _position(after)
        conditions.append(f"(f.at, f.firing_id) < (${len(arguments) - 1}, ${len(arguments)})")
    rows = await session.fetch(
        f"SELECT {_FIRING} FROM watch_firings f WHERE {' AND '.join(conditions)} "
        "ORDER BY f.at DESC, f.firing_id DESC LIMIT $2",
        *arguments,
    )
    found = [Firing(*row) for row in rows]
    if len(found) <= limit:
        return Page(found, None)
    last = found[-2]
    place = _POSITION.pack((last.at - _EPOCH) // _MICROSECOND, last.firing_id.bytes)
    return Page(found[:-1], cursor.encode(place, list_="firings"))


def _position(after: str) -> list[Any]:
    microseconds, firing_id = _POSITION.unpack(cursor.decode(after, list_="firings", size=_POSITION.size))
    try:
        return [_EPOCH + timedelta(microseconds=microseconds), UUID(firing_id)]
    except OverflowError:
        raise cursor.unfit() from None


async def firings_of(session: ReadSession, commits: Sequence[tuple[int, int]]) -> list[Firing]:
    """What the rows of the commit log that say `watch` are about, given by generation and xid8, in the log's order.

    What was erased since, or is not kept any more, is left out. Relies on `watch_firings_generation_xid8_idx`.
    """
    rows = await session.fetch(
        f"SELECT {_FIRING} FROM unnest($1::int[], $2::xid8[]) AS of (generation, xid8) "
        "JOIN watch_firings f USING (generation, xid8) ORDER BY f.generation, f.xid8, f.number",
        [generation for generation, _ in commits],
        [xid8 for _, xid8 in commits],
    )
    return [Firing(*row) for row in rows]


def from_ms(milliseconds: int) -> UUID:
    """The lowest id that an interaction at this Unix time in ms can have."""
    return ids.first_id_at(ids.from_unix_ms(max(milliseconds, 0)))
