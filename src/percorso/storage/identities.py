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

from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypeVar

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession

Node = TypeVar("Node", bound=Hashable)

_Aged: TypeAlias = tuple[datetime, UUID]
"""A customer, after when its oldest identity was first seen."""
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


async def insert(session: WriteSession, met: Iterable[tuple[datetime, Identifier]]) -> dict[UUID, UUID]:
    """Insert identities where they are not stored, with when each was first seen; give back the customer of each.

    One may be met several times: the earliest counts.
    """
    firsts = {identifier.id: (at, identifier) for at, identifier in sorted(met, reverse=True)}
    ordered = [firsts[identity] for identity in sorted(firsts)]
    inserted = await session.fetch(
        "INSERT INTO identities (identity_id, kind, value, strong, customer_id, first_seen_at) "
        "SELECT id, kind, value, strong, id, at "
        "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::timestamptz[]) "
        "AS t(id, kind, value, strong, at) "
        "ON CONFLICT DO NOTHING RETURNING identity_id",
        [identifier.id for _, identifier in ordered],
        [identifier.kind for _, identifier in ordered],
        [identifier.value for _, identifier in ordered],
        [identifier.strong for _, identifier in ordered],
        [at for at, _ in ordered],
    )
    customers: dict[UUID, UUID] = {record["identity_id"]: record["identity_id"] for record in inserted}
    rest = [identity for identity in firsts if identity not in customers]
    return customers | await customers_of(session, rest) if rest else customers


async def customers_of(session: WriteSession, identity_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """The customer of each of these identities, as this transaction sees it."""
    records = await session.fetch(
        "SELECT identity_id, customer_id FROM identities WHERE identity_id = ANY($1)", list(identity_ids)
    )
    return {record["identity_id"]: record["customer_id"] for record in records}


async def recall(
    session: WriteSession, identity_ids: Sequence[UUID], pairs: Sequence[tuple[UUID, UUID]]
) -> tuple[dict[UUID, UUID], list[tuple[UUID, UUID]]]:
    """Of these, what is stored: the customer of each identity, and the links. Relies on the primary keys."""
    records = await session.fetch(
        "SELECT false AS link, identity_id AS a, customer_id AS b FROM identities WHERE identity_id = ANY($1) "
        "UNION ALL SELECT true, l.identity_a, l.identity_b FROM unnest($2::uuid[], $3::uuid[]) AS p(a, b) "
        "CROSS JOIN LATERAL (SELECT identity_a, identity_b FROM identity_links "
        "WHERE identity_a = p.a AND identity_b = p.b LIMIT 1) AS l",
        identity_ids,
        [a for a, _ in pairs],
        [b for _, b in pairs],
    )
    customers = {a: b for is_link, a, b in records if not is_link}
    return customers, [(a, b) for is_link, a, b in records if is_link]


async def link(session: WriteSession, links: Iterable[Link]) -> bool:
    """Record links between stored identities and bring customers up to date; whether any customer may have changed.

    Takes the lock on links: nothing that can wait for another transaction may follow it but the commit.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    new = await session.fetch(
        "WITH new AS (INSERT INTO identity_links (identity_a, identity_b, interaction_id, source, linked_at) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[]) "
        "ON CONFLICT DO NOTHING RETURNING identity_a, identity_b) "
        "SELECT a.identity_id AS a, a.strong AS a_strong, a.customer_id AS a_customer, first.first_seen_at AS a_since, "
        "b.identity_id AS b, b.strong AS b_strong, b.customer_id AS b_customer, second.first_seen_at AS b_since "
        "FROM new JOIN identities a ON a.identity_id = new.identity_a "
        "JOIN identities b ON b.identity_id = new.identity_b "
        "JOIN identities first ON first.identity_id = a.customer_id "
        "JOIN identities second ON second.identity_id = b.customer_id",
        *(list(column) for column in zip(*sorted(links), strict=True)),
    )
    if not new:
        return False
    await _follow(session, new)
    return True


async def _follow(session: WriteSession, new: Sequence[Record]) -> None:
    """Bring `customer_id` up to date after new links, each given with its ends and the age of their customers."""
    weak = {each[end] for each in new for end in ("a", "b") if not each[f"{end}_strong"]}
    joins = [
        ((each["a_since"], each["a_customer"]), (each["b_since"], each["b_customer"]))
        for each in new
        if each["a_strong"] and each["b_strong"] and each["a_customer"] != each["b_customer"]
    ]
    if joins:
        weak |= await _merge(session, joins)
    if weak:
        await _place_weak(session, weak)


async def _merge(session: WriteSession, joins: Sequence[tuple[_Aged, _Aged]]) -> set[UUID]:
    """Merge customers pairwise joined into the oldest; give back the weak identities that must be placed anew."""
    losers: list[UUID] = []
    survivors: list[UUID] = []
    for group in connected(joins):
        oldest = min(group)
        losers += (customer for _, customer in group - {oldest})
        survivors += [oldest[1]] * (len(group) - 1)
    shared = await session.fetch(
        "WITH merged AS (UPDATE identities SET customer_id = m.survivor "
        "FROM unnest($1::uuid[], $2::uuid[]) AS m(loser, survivor) WHERE customer_id = m.loser) "
        # The statement still sees who belonged to whom before.
        "SELECT DISTINCT w.identity_id FROM identities s "
        "CROSS JOIN LATERAL (SELECT identity_b AS other FROM identity_links WHERE identity_a = s.identity_id "
        "UNION ALL SELECT identity_a FROM identity_links WHERE identity_b = s.identity_id) AS l "
        "JOIN identities w ON w.identity_id = l.other AND NOT w.strong AND w.customer_id = w.identity_id "
        "WHERE s.strong AND s.customer_id = ANY($1 || $2)",
        losers,
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


def connected(pairs: Iterable[tuple[Node, Node]]) -> list[set[Node]]:
    """The connected components of a graph given by its edges (union-find with path halving)."""
    parent: dict[Node, Node] = {}

    def find(node: Node) -> Node:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in pairs:
        parent[find(a)] = find(b)
    groups: dict[Node, set[Node]] = {}
    for node in list(parent):
        groups.setdefault(find(node), set()).add(node)
    return list(groups.values())
