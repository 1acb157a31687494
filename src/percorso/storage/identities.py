"""Identities, the links between them, and the customers that follow from the links.

Customers are a pure function of the set of links, in whatever order those arrive:

- the strong identities of a customer are a connected component over the links between strong identities;
- a weak identity belongs to the customer that all its links to strong identities lead to; where they lead to more
  than one it is shared (two people on one device) and stands alone, as it does where they lead to none;
- links between two weak identities are only recorded.

`identities.customer_id` keeps the result. A customer's id is the identity id of its oldest strong identity, so every
id a customer ever had is some identity's id and keeps resolving, and taking a link away gives the parts their ids
back. No interaction is touched by any of this.

Changes to links are made by one transaction at a time (an advisory lock, taken last and held until the commit), so
they can neither miss each other nor deadlock; interactions that bring no new link never take it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession

_LOCK = 0x70657263_6C696E6B


class Identifier(NamedTuple):
    """A normalised identifier and the identity id that stands for it."""

    id: UUID
    kind: str
    value: str
    strong: bool


class Link(NamedTuple):
    """Two identities seen in one interaction: `a < b`."""

    a: UUID
    b: UUID
    interaction_id: UUID
    source: str
    at: datetime


async def insert(session: WriteSession, new: Mapping[Identifier, datetime]) -> dict[UUID, UUID]:
    """Insert identities, with when each was first seen, where they are not stored; give back the customer of each."""
    ordered = sorted(new.items())
    inserted = await session.fetch(
        "INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at) "
        "SELECT id, kind, value, strong, id, at "
        "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::timestamptz[]) "
        "AS t(id, kind, value, strong, at) "
        "ON CONFLICT DO NOTHING RETURNING identity_id",
        [identifier.id for identifier, _ in ordered],
        [identifier.kind for identifier, _ in ordered],
        [identifier.value for identifier, _ in ordered],
        [identifier.strong for identifier, _ in ordered],
        [at for _, at in ordered],
    )
    customers: dict[UUID, UUID] = {record["identity_id"]: record["identity_id"] for record in inserted}
    rest = [identifier.id for identifier in new if identifier.id not in customers]
    return customers | await customers_of(session, rest) if rest else customers


async def customers_of(session: WriteSession, identity_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """The customer of each of these identities, as this transaction sees it."""
    records = await session.fetch(
        "SELECT identity_id, customer_id FROM identities WHERE identity_id = ANY($1)", list(identity_ids)
    )
    return {record["identity_id"]: record["customer_id"] for record in records}


async def link(session: WriteSession, links: Sequence[Link]) -> bool:
    """Record links between stored identities and bring customers up to date; whether any customer may have changed.

    Takes the lock on links: nothing that can wait for another transaction may follow it but the commit.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    ordered = sorted(links)
    new = await session.fetch(
        "INSERT INTO identity_links (identity_a, identity_b, interaction_id, source, linked_at) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[]) "
        "ON CONFLICT DO NOTHING RETURNING identity_a, identity_b",
        *(list(column) for column in zip(*ordered, strict=True)),
    )
    if not new:
        return False
    await _follow(session, [(record["identity_a"], record["identity_b"]) for record in new])
    return True


async def _follow(session: WriteSession, new: Sequence[tuple[UUID, UUID]]) -> None:
    """Bring `customer_id` up to date after new links."""
    ends = {
        record["identity_id"]: record
        for record in await session.fetch(
            "SELECT identity_id, strong, customer_id FROM identities WHERE identity_id = ANY($1)",
            list({end for pair in new for end in pair}),
        )
    }
    weak = {end for pair in new for end in pair if not ends[end]["strong"]}
    joins = [
        (ends[a]["customer_id"], ends[b]["customer_id"])
        for a, b in new
        if ends[a]["strong"] and ends[b]["strong"] and ends[a]["customer_id"] != ends[b]["customer_id"]
    ]
    if joins:
        weak |= await _merge(session, joins)
    if weak:
        await _place_weak(session, weak)


async def _merge(session: WriteSession, joins: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
    """Merge customers pairwise joined; give back the weak identities that must be placed anew."""
    groups = connected(joins)
    seen = {
        record["identity_id"]: record["first_seen_at"]
        for record in await session.fetch(
            "SELECT identity_id, first_seen_at FROM identities WHERE identity_id = ANY($1)",
            [customer for group in groups for customer in group],
        )
    }
    losers: list[UUID] = []
    survivors: list[UUID] = []
    for group in groups:
        oldest = min(group, key=lambda customer: (seen[customer], customer))
        losers += (customer for customer in group if customer != oldest)
        survivors += [oldest] * (len(group) - 1)
    await session.execute(
        "UPDATE identities SET customer_id = m.survivor FROM unnest($1::uuid[], $2::uuid[]) AS m(loser, survivor) "
        "WHERE customer_id = m.loser",
        losers,
        survivors,
    )
    shared = await session.fetch(
        "SELECT DISTINCT w.identity_id FROM identities s "
        "CROSS JOIN LATERAL (SELECT identity_b AS other FROM identity_links WHERE identity_a = s.identity_id "
        "UNION ALL SELECT identity_a FROM identity_links WHERE identity_b = s.identity_id) AS l "
        "JOIN identities w ON w.identity_id = l.other AND NOT w.strong AND w.customer_id = w.identity_id "
        "WHERE s.strong AND s.customer_id = ANY($1)",
        survivors,
    )
    return {record["identity_id"] for record in shared}


async def _place_weak(session: WriteSession, weak: Iterable[UUID]) -> None:
    """Put each weak identity where its links to strong ones lead: to their one customer, or alone.

    Looks for a first customer and then for another than that, so that a device shared by thousands costs two look-ups.
    """
    leads_to = (
        "SELECT s.customer_id FROM (SELECT identity_b AS other FROM identity_links WHERE identity_a = w.id "
        "UNION ALL SELECT identity_a FROM identity_links WHERE identity_b = w.id) AS l "
        "JOIN identities s ON s.identity_id = l.other AND s.strong"
    )
    await session.execute(
        "UPDATE identities SET customer_id = placed.customer_id FROM ("
        "SELECT w.id, CASE WHEN first.customer_id IS NULL OR EXISTS "
        f"({leads_to} WHERE s.customer_id <> first.customer_id) "
        "THEN w.id ELSE first.customer_id END AS customer_id "
        f"FROM unnest($1::uuid[]) AS w(id) LEFT JOIN LATERAL ({leads_to} LIMIT 1) AS first ON true"
        ") AS placed WHERE identity_id = placed.id AND identities.customer_id <> placed.customer_id",
        list(weak),
    )


def connected(pairs: Iterable[tuple[UUID, UUID]]) -> list[set[UUID]]:
    """The connected components of a graph given by its edges (union-find with path halving)."""
    parent: dict[UUID, UUID] = {}

    def find(node: UUID) -> UUID:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in pairs:
        parent[find(a)] = find(b)
    groups: dict[UUID, set[UUID]] = {}
    for node in list(parent):
        groups.setdefault(find(node), set()).add(node)
    return list(groups.values())
