"""How far each of those has come that follow the commit log."""

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.storage.database import WriteSession


async def start(session: WriteSession, name: str, generation: int) -> None:
    """Let a follower that is new begin here: with what is not committed yet.

    What is committed already it finds in its first pass over all identities. Where it has begun, nothing changes.
    """
    await session.execute(
        "INSERT INTO followers (name, generation, xid8, filled_to) "
        "SELECT $1, $2, (pg_snapshot_xmin(pg_current_snapshot())::text::numeric - 1)::text::xid8, $3 "
        "WHERE NOT EXISTS (SELECT FROM followers WHERE name = $1) ON CONFLICT DO NOTHING",
        name,
        generation,
        ids.LOWEST,
    )


async def advance(session: WriteSession, name: str, generation: int, xid8: int) -> None:
    """What stands in the commit log up to here was taken. It never goes back."""
    await session.execute(
        "UPDATE followers SET generation = $2, xid8 = $3 WHERE name = $1 AND (generation, xid8) < ($2, $3)",
        name,
        generation,
        xid8,
    )


async def fill(session: WriteSession, name: str, to: UUID | None) -> None:
    """The first pass has come to this identity; None: it is complete, and stays so."""
    await session.execute(
        "UPDATE followers SET filled_to = $2 WHERE name = $1 AND (filled_to < $2 OR $2 IS NULL)", name, to
    )
