"""What came of contacts; `followers.as_of` of `queries.profiles.FOLLOWER` says up to which moment all of it is told."""

from collections.abc import Sequence

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import ReadSession
from percorso.storage.outcomes import COLUMNS, Outcome


async def between(session: ReadSession, low: UUID, high: UUID) -> list[Outcome]:
    """The outcomes of the interactions in a range of ids, `high` excluded, in order; such ids are ordered by time.

    One whose interaction was deleted stays until the profile of its customer is made anew, seconds later: whoever
    counts them looks at interactions that there are. Relies on the primary key `(interaction_id, identity_id)`.
    """
    rows = await session.fetch(
        f"SELECT {COLUMNS} FROM contact_outcomes WHERE interaction_id >= $1 AND interaction_id < $2 "
        "ORDER BY interaction_id, identity_id",
        low,
        high,
    )
    return [Outcome(*row) for row in rows]


async def of(session: ReadSession, interaction_ids: Sequence[UUID]) -> list[Outcome]:
    """The outcomes of these interactions, in no order. Relies on the primary key `(interaction_id, identity_id)`."""
    rows = await session.fetch(
        f"SELECT {COLUMNS} FROM contact_outcomes WHERE interaction_id = ANY($1)", interaction_ids
    )
    return [Outcome(*row) for row in rows]
