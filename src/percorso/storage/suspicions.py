"""Suspicions: what guard rails stopped, and links that were cut and came again, until someone decides."""

from datetime import datetime

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession


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
