"""Customers changed by hand: links cut, or made, or those of a shared identifier counted again, and what follows.

No interaction is touched by any of it, or even read.

A transaction begins with `lock`, which keeps links as they are until it ends; after its changes come `rebuild`, and
what tells others: `epoch.bump`, and a row of the commit log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage import epoch, linking
from percorso.storage.database import WriteSession
from percorso.storage.linking import Guards


class Member(NamedTuple):
    """An identity of a customer."""

    identity_id: UUID
    strong: bool
    customer_id: UUID


@dataclass(frozen=True, slots=True)
class Decision:
    """Who decided, why, and when."""

    by: str
    reason: str
    at: datetime


async def lock(session: WriteSession, guards: Guards) -> None:
    """Keep links, and what follows from them, as they are until this transaction ends."""
    await linking.ensure(session, guards)
    await epoch.share(session)
    await session.execute("SELECT pg_advisory_xact_lock($1)", linking.LOCK)


async def members(session: WriteSession, identity_id: UUID) -> list[Member]:
    """The identities of the customer that this one belongs to, strong ones and older ones first; none: it is unknown.

    Relies on the primary key of identities and on `identities_customer_id_idx`.
    """
    records = await session.fetch(
        "SELECT m.identity_id, m.strong, m.customer_id "
        "FROM identities one JOIN identities m ON m.customer_id = one.customer_id "
        "WHERE one.identity_id = $1 ORDER BY m.strong DESC, m.first_seen_at, m.identity_id",
        identity_id,
    )
    return [Member(*record) for record in records]


async def cut(session: WriteSession, apart: Sequence[UUID], rest: Sequence[Member], decision: Decision) -> None:
    """Cut every link between these identities of a customer and the rest of it.

    Between them and strong ones of the rest a link is stored as cut even where there was none: what has been said to
    be of two persons is not to become one again through two identifiers that had not been seen together before.
    """
    await session.execute(
        "WITH pairs AS ("
        "SELECT least(x, y) AS a, greatest(x, y) AS b FROM unnest($1::uuid[]) AS x, unnest($2::uuid[]) AS y "
        "UNION SELECT identity_a, identity_b FROM identity_links WHERE identity_a = ANY($1) AND identity_b = ANY($3) "
        "UNION SELECT identity_a, identity_b FROM identity_links WHERE identity_b = ANY($1) AND identity_a = ANY($3)"
        "), cut AS ("
        "INSERT INTO identity_links AS l (identity_a, identity_b, linked_at, linked_by, state) "
        "SELECT a, b, $4, $5, 'cut' FROM pairs "
        "ON CONFLICT (identity_a, identity_b) DO UPDATE SET state = 'cut' WHERE l.state <> 'cut' "
        "RETURNING identity_a, identity_b"
        ") INSERT INTO identity_changes (change_id, at, what, identity_a, identity_b, state, done_by, reason) "
        "SELECT pg_temp.percorso_id($4), $4, 'split', identity_a, identity_b, 'cut', $5, $6 FROM cut",
        apart,
        [member.identity_id for member in rest if member.strong],
        [member.identity_id for member in rest if not member.strong],
        decision.at,
        decision.by,
        decision.reason,
    )


async def join(session: WriteSession, one: Sequence[Member], other: Sequence[Member], decision: Decision) -> None:
    """Link two customers, by their first identities; make active what had been cut or suspected between them.

    Suspicions of links between them are decided by that.
    """
    pair = sorted((one[0].identity_id, other[0].identity_id))
    # Of a customer that has strong identities only those can join.
    ours, theirs = (
        [member.identity_id for member in side if member.strong or not side[0].strong] for side in (one, other)
    )
    await session.execute(
        "WITH made AS ("
        "INSERT INTO identity_links (identity_a, identity_b, linked_at, linked_by) VALUES ($1, $2, $5, $6) "
        "ON CONFLICT (identity_a, identity_b) DO UPDATE SET state = 'active' RETURNING identity_a, identity_b"
        "), again AS ("
        "UPDATE identity_links SET state = 'active' WHERE state <> 'active' "
        "AND (identity_a = ANY($3) AND identity_b = ANY($4) OR identity_a = ANY($4) AND identity_b = ANY($3)) "
        "AND (identity_a, identity_b) <> ($1, $2) RETURNING identity_a, identity_b"
        ") INSERT INTO identity_changes (change_id, at, what, identity_a, identity_b, state, done_by, reason) "
        "SELECT pg_temp.percorso_id($5), $5, 'merged', identity_a, identity_b, 'active', $6, $7 "
        "FROM (SELECT * FROM made UNION ALL SELECT * FROM again) AS changed",
        *pair,
        ours,
        theirs,
        decision.at,
        decision.by,
        decision.reason,
    )
    await session.execute(
        "UPDATE identity_suspicions SET decided_at = $3, decided_by = $4, reason = $5, decision = 'merged' "
        "WHERE decided_at IS NULL "
        "AND (identity_a = ANY($1) AND identity_b = ANY($2) OR identity_a = ANY($2) AND identity_b = ANY($1))",
        ours,
        theirs,
        decision.at,
        decision.by,
        decision.reason,
    )


async def restore(session: WriteSession, identity_id: UUID, decision: Decision) -> list[Member]:
    """Let a shared identifier join again whom its active links lead to, and decide its suspicion by that.

    Gives back the identity and those beside it, as members of the customers that are to be rebuilt. Relies on the
    primary keys of identities and of links, `identity_links_identity_b_idx`, and the unique key of suspicions.
    """
    await session.execute(
        "WITH strong AS ("
        "UPDATE identities SET strong = true WHERE identity_id = $1"
        "), decided AS ("
        "UPDATE identity_suspicions SET decided_at = $2, decided_by = $3, reason = $4, decision = 'restored' "
        "WHERE identity_a = $1 AND identity_b IS NULL AND why = 'shared'"
        ") INSERT INTO identity_changes (change_id, at, what, identity_a, state, done_by, reason) "
        "VALUES (pg_temp.percorso_id($2), $2, 'restored', $1, 'strong', $3, $4)",
        identity_id,
        decision.at,
        decision.by,
        decision.reason,
    )
    records = await session.fetch(
        "SELECT i.identity_id, i.strong, i.customer_id FROM ("
        f"SELECT $1::uuid AS other UNION ALL {linking.neighbours('$1')}"
        ") AS beside JOIN identities i ON i.identity_id = beside.other",
        identity_id,
    )
    return [Member(*record) for record in records]


async def rebuild(session: WriteSession, customer_ids: Sequence[UUID]) -> list[UUID]:
    """Find anew what customers follow from the links of these; every identity that may belong to another now."""
    touched: list[UUID] = await session.fetchval("SELECT pg_temp.percorso_rebuild($1, '{}')", customer_ids)
    return touched
