"""Suspicions: what guard rails stopped, and links that were cut and came again, until someone decides."""

from datetime import datetime
from typing import NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


class Held(NamedTuple):
    """A suspicion: why it arose, the identity that it is about (or one of the two), and what was decided."""

    why: str
    identity_id: UUID
    decision: str | None


async def hold(session: WriteSession, suspicion_id: UUID) -> Held | None:
    """The suspicion of this id, which nobody else decides until the transaction ends; None: its identity is gone too.

    Relies on the primary keys of suspicions and of identities.
    """
    record = await session.fetchrow(
        "SELECT s.why, s.identity_a, s.decision FROM identity_suspicions s "
        "JOIN identities i ON i.identity_id = s.identity_a WHERE s.suspicion_id = $1 FOR UPDATE OF s",
        suspicion_id,
    )
    return None if record is None else Held(*record)


async def dismiss(session: WriteSession, suspicion_id: UUID, *, by: str, reason: str, at: datetime) -> bool:
    """Decide that what was stopped was rightly stopped; whether it was undecided. Relies on the primary key."""
    done = await session.fetchval(
        "UPDATE identity_suspicions SET decided_at = $2, decided_by = $3, reason = $4, decision = 'dismissed' "
        "WHERE suspicion_id = $1 AND decided_at IS NULL RETURNING true",
        suspicion_id,
        at,
        by,
        reason,
    )
    return bool(done)
