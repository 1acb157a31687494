"""Keys: who may call, and what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import ReadSession


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; the key itself is not. `rate` is a second, `burst` at once; None: as the settings say."""

    key_id: UUID
    name: str
    scopes: Sequence[str]
    created_at: datetime
    revoked_at: datetime | None
    rate: float | None = None
    burst: int | None = None


_COLUMNS = "key_id, name, scopes, created_at, revoked_at, rate, burst"


async def valid(session: ReadSession, key_hash: bytes) -> ApiKey | None:
    """The key of this hash, where it is not revoked. Relies on the unique key on `key_hash`."""
    row = await session.fetchrow(
        f"SELECT {_COLUMNS} FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL", key_hash
    )
    return None if row is None else ApiKey(*row)


async def all_keys(session: ReadSession) -> list[ApiKey]:
    """Every key ever made, oldest first."""
    rows = await session.fetch(f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at, key_id")
    return [ApiKey(*row) for row in rows]
