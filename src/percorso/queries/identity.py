"""The identity of a customer, as it is or as it was: every identifier, every link, and what was decided about them.

As of a moment it follows from the links that were active then, by the rule of `storage/identities.py`: a link counts
from `linked_at` on, in the state that the latest change to it had given it; an identifier was strong until it
was demoted, weak until it was restored, and else what it is. Nothing is kept for that but the changes themselves.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.errors import UnknownCustomer
from percorso.storage.database import ReadSession


@dataclass(frozen=True, slots=True)
class Change:
    """What was decided about a link or an identifier; `by` is None where a guard rail did it."""

    at: datetime
    what: str
    state: str
    by: str | None
    reason: str | None
    interaction_id: UUID | None
    source: str | None


@dataclass(frozen=True, slots=True)
class Named:
    """An identity; `customer_id` is the customer it belongs to now."""

    identity_id: UUID
    kind: str
    value: str
    customer_id: UUID


@dataclass(frozen=True, slots=True)
class Identifier(Named):
    """An identity of the customer."""

    strong: bool
    first_seen_at: datetime
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Link:
    """Why two identities are one customer, or why they are not; `by` is None where an interaction linked them."""

    ends: tuple[Named, Named]
    state: str
    linked_at: datetime
    by: str | None
    interaction_id: UUID | None
    source: str | None
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class View:
    """A customer's identity at a moment: `then` is the id that the customer had, `customer_id` the one it has now."""

    customer_id: UUID
    then: UUID
    identifiers: Sequence[Identifier]
    links: Sequence[Link]


_ANY_TIME = "coalesce($2::timestamptz, 'infinity')"
_STATE = (
    "coalesce((SELECT c.state FROM identity_changes c WHERE c.identity_a = l.identity_a "
    f"AND c.identity_b = l.identity_b AND c.at <= {_ANY_TIME} ORDER BY c.at DESC, c.change_id DESC LIMIT 1), 'active')"
)


def _beside(identity: str) -> str:
    """The identities that active links led to from this one."""
    return (
        f"(SELECT l.identity_b AS other FROM identity_links l WHERE l.identity_a = {identity} "
        f"AND l.linked_at <= {_ANY_TIME} AND {_STATE} = 'active' "
        f"UNION ALL SELECT l.identity_a FROM identity_links l WHERE l.identity_b = {identity} "
        f"AND l.linked_at <= {_ANY_TIME} AND {_STATE} = 'active')"
    )


def _strong(alias: str) -> str:
    """Whether an identity was strong."""
    return (
        f"coalesce((SELECT c.state = 'weak' FROM identity_changes c WHERE c.identity_a = {alias}.identity_id "
        f"AND c.identity_b IS NULL AND c.at > {_ANY_TIME} ORDER BY c.at LIMIT 1), {alias}.strong)"
    )


async def view(session: ReadSession, identity_id: UUID, at: datetime | None) -> View:
    """The identity of the customer whom this one belonged to at a moment, or belongs to now.

    Raises UnknownCustomer where it was not known then. Relies on the primary keys of identities and of links,
    `identity_links_identity_b_idx`, and the two indexes of identity_changes; it reads no interaction.
    """
    async with session.transaction(isolation="repeatable_read", readonly=True):
        start = await session.fetchrow(
            f"SELECT customer_id, {_strong('i')} AS strong FROM identities i "
            f"WHERE identity_id = $1 AND first_seen_at <= {_ANY_TIME}",
            identity_id,
            at,
        )
        if start is None:
            raise UnknownCustomer("No identifier and no customer id matches, or none did so then.")
        part = await _part(session, identity_id, at, strong=start["strong"])
        weak = await _weak(session, part, at) if part else []
        if not start["strong"] and identity_id not in weak:
            part, weak = [], [identity_id]
        members = [*part, *weak]
        changes = await _changes(session, members, at)
        identifiers = [
            Identifier(**row, changes=changes[row["identity_id"], None])
            for row in await _identifiers(session, members, at)
        ]
        links = [_link(row, changes) for row in await _links(session, members, at)]
    return View(start["customer_id"], identifiers[0].identity_id, identifiers, links)


async def _part(session: ReadSession, identity_id: UUID, at: datetime | None, *, strong: bool) -> list[UUID]:
    """The strong identities that a strong one was one customer with; of a weak one, those of one that it led to."""
    first = "SELECT $1::uuid"
    if not strong:
        first = f"(SELECT s.identity_id FROM {_beside('$1')} AS n JOIN identities s ON s.identity_id = n.other "
        first += f"AND {_strong('s')} LIMIT 1)"
    rows = await session.fetch(
        f"WITH RECURSIVE part(id) AS ({first} UNION SELECT s.identity_id FROM part "
        f"CROSS JOIN LATERAL {_beside('part.id')} AS n JOIN identities s ON s.identity_id = n.other "
        f"AND {_strong('s')}) SELECT id FROM part",
        identity_id,
        at,
    )
    return [row["id"] for row in rows]


async def _weak(session: ReadSession, part: Sequence[UUID], at: datetime | None) -> list[UUID]:
    """The weak identities that led to these strong ones, and to no others."""
    rows = await session.fetch(
        f"SELECT DISTINCT w.identity_id FROM unnest($1::uuid[]) AS p CROSS JOIN LATERAL {_beside('p')} AS n "
        f"JOIN identities w ON w.identity_id = n.other AND NOT {_strong('w')} "
        f"WHERE NOT EXISTS (SELECT FROM {_beside('w.identity_id')} AS m JOIN identities s ON s.identity_id = m.other "
        f"AND {_strong('s')} WHERE s.identity_id <> ALL($1))",
        part,
        at,
    )
    return [row["identity_id"] for row in rows]


async def _identifiers(session: ReadSession, members: Sequence[UUID], at: datetime | None) -> Sequence[Record]:
    """Strong ones and older ones first: the first gives the customer its id."""
    return await session.fetch(
        f"SELECT identity_id, kind, value, customer_id, {_strong('i')} AS strong, first_seen_at FROM identities i "
        "WHERE identity_id = ANY($1) ORDER BY 5 DESC, first_seen_at, identity_id",
        members,
        at,
    )


async def _links(session: ReadSession, members: Sequence[UUID], at: datetime | None) -> Sequence[Record]:
    return await session.fetch(
        f"SELECT l.identity_a, l.identity_b, {_STATE} AS state, l.linked_at, l.linked_by, l.interaction_id, l.source, "
        "a.kind AS a_kind, a.value AS a_value, a.customer_id AS a_customer, "
        "b.kind AS b_kind, b.value AS b_value, b.customer_id AS b_customer "
        "FROM identity_links l JOIN identities a ON a.identity_id = l.identity_a "
        "JOIN identities b ON b.identity_id = l.identity_b "
        f"WHERE (l.identity_a = ANY($1) OR l.identity_b = ANY($1)) AND l.linked_at <= {_ANY_TIME} "
        "ORDER BY l.linked_at, l.identity_a, l.identity_b",
        members,
        at,
    )


def _link(row: Record, changes: "dict[tuple[UUID, UUID | None], list[Change]]") -> Link:
    return Link(
        ends=(
            Named(row["identity_a"], row["a_kind"], row["a_value"], row["a_customer"]),
            Named(row["identity_b"], row["b_kind"], row["b_value"], row["b_customer"]),
        ),
        state=row["state"],
        linked_at=row["linked_at"],
        by=row["linked_by"],
        interaction_id=row["interaction_id"],
        source=row["source"],
        changes=changes[row["identity_a"], row["identity_b"]],
    )


async def _changes(
    session: ReadSession, members: Sequence[UUID], at: datetime | None
) -> "dict[tuple[UUID, UUID | None], list[Change]]":
    """What was decided about these identities and their links, oldest first."""
    rows = await session.fetch(
        "SELECT identity_a, identity_b, at, what, state, done_by, reason, interaction_id, source FROM identity_changes "
        f"WHERE (identity_a = ANY($1) OR identity_b = ANY($1)) AND at <= {_ANY_TIME} ORDER BY at, change_id",
        members,
        at,
    )
    changes: dict[tuple[UUID, UUID | None], list[Change]] = defaultdict(list)
    for row in rows:
        changes[row["identity_a"], row["identity_b"]].append(Change(*row[2:]))
    return changes
