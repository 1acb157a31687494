"""Keys: who may call, and what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import ReadSession


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; the key itself is not.

    `sources` and `channels` are what it may send, None any. `rotated_until` is when the last of the secrets it had
    before ends; None where none is valid any more. `rate` is a second, `burst` at once; None: as the settings say.
    """

    key_id: UUID
    name: str
    scopes: Sequence[str]
    created_at: datetime
    revoked_at: datetime | None
    sources: Sequence[str] | None
    channels: Sequence[str] | None
    expires_at: datetime | None
    last_used_at: datetime | None
    rotated_until: datetime | None
    rate: float | None
    burst: int | None


_COLUMNS = (
    "k.key_id, k.name, k.scopes, k.created_at, k.revoked_at, k.sources, k.channels, k.expires_at, k.last_used_at, "
    "(SELECT max(r.valid_until) FROM rotated_keys r WHERE r.key_id = k.key_id AND r.valid_until > now()), "
    "k.rate, k.burst"
)


IS_VALID = "k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
"""Whether the key `k` may still be used, by whatever secret."""


async def valid(session: ReadSession, key_hash: bytes) -> tuple[ApiKey, datetime | None] | None:
    """The key of this hash, where it is valid, and until when it is; None is for ever.

    Relies on the unique key on `key_hash`, the primary keys of both tables, and `rotated_keys_key_id_idx`.
    """
    row = await session.fetchrow(
        f"SELECT least(k.expires_at, h.valid_until), {_COLUMNS} "
        "FROM (SELECT key_id, NULL::timestamptz AS valid_until FROM api_keys WHERE key_hash = $1 "
        "UNION ALL SELECT key_id, valid_until FROM rotated_keys WHERE key_hash = $1) AS h "
        "JOIN api_keys k USING (key_id) "
        "WHERE k.revoked_at IS NULL AND least(k.expires_at, h.valid_until, 'infinity') > now()",
        key_hash,
    )
    return None if row is None else (ApiKey(*row[1:]), row[0])


async def by_id(session: ReadSession, key_id: UUID) -> ApiKey | None:
    """The key of this id, revoked or not. Relies on the primary key and on `rotated_keys_key_id_idx`."""
    row = await session.fetchrow(f"SELECT {_COLUMNS} FROM api_keys k WHERE k.key_id = $1", key_id)
    return None if row is None else ApiKey(*row)


async def all_keys(session: ReadSession) -> list[ApiKey]:
    """Every key ever made, oldest first."""
    rows = await session.fetch(f"SELECT {_COLUMNS} FROM api_keys k ORDER BY k.created_at, k.key_id")
    return [ApiKey(*row) for row in rows]
