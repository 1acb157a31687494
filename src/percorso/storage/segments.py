"""Segments: filters of customers that have a name."""

from percorso.storage.database import WriteSession


async def put(session: WriteSession, name: str, *, description: str | None, filter_: str, by: str) -> bool:
    """Say what a segment is, in full; `filter_` is JSON. Whether it is new."""
    return bool(
        await session.fetchval(
            "INSERT INTO segments (name, description, filter, updated_by) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (name) DO UPDATE SET description = excluded.description, filter = excluded.filter, "
            "updated_at = now(), updated_by = excluded.updated_by RETURNING xmax = 0",
            name,
            description,
            filter_,
            by,
        )
    )


async def delete(session: WriteSession, name: str) -> bool:
    """Forget a segment; whether there was one."""
    return await session.fetchval("DELETE FROM segments WHERE name = $1 RETURNING true", name) is not None
