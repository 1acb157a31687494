"""Who may call: keys, stored as hashes.

A key has 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slow hash would protect.
A key that is rotated keeps its id and all that is said of it; the hashes it had before stay, each with when it ends.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession

PREFIX = "pcs_"

_CHANGES: Final = {
    "name": "text",
    "sources": "text[]",
    "channels": "text[]",
    "expires_at": "timestamptz",
    "rate": "float8",
    "burst": "int",
}
"""What of a key may be changed, and the types of these columns."""


def hash_key(key: str) -> bytes:
    """What is stored of a key."""
    return sha256(key.encode()).digest()


def generate() -> str:
    """A new key; it can be read nowhere once it is given out."""
    return PREFIX + secrets.token_urlsafe(32)


async def create(
    session: WriteSession,
    *,
    name: str,
    scopes: Sequence[str],
    key: str,
    sources: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    rate: float | None = None,
    burst: int | None = None,
) -> UUID:
    """Store a key, unless it is stored already or was before a rotation, and give back its id.

    Relies on the unique key on `key_hash`, and on the primary key of rotated_keys.
    """
    key_hash = hash_key(key)
    rotated: UUID | None = await session.fetchval("SELECT key_id FROM rotated_keys WHERE key_hash = $1", key_hash)
    if rotated is not None:
        return rotated
    key_id: UUID = await session.fetchval(
        "INSERT INTO api_keys (key_id, name, key_hash, scopes, sources, channels, expires_at, rate, burst) "
        "VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $6, $7, $8) "
        "ON CONFLICT (key_hash) DO UPDATE SET key_hash = excluded.key_hash RETURNING key_id",
        name,
        key_hash,
        list(scopes),
        sources,
        channels,
        expires_at,
        rate,
        burst,
    )
    return key_id


async def change(session: WriteSession, key_id: UUID, changes: Mapping[str, Any]) -> bool:
    """Change its name or its limits; False where there is no such key, or it is revoked.

    Relies on the primary key.
    """
    told = ", ".join(f"{name} = ${number}::{_CHANGES[name]}" for number, name in enumerate(changes, 2))
    done = await session.fetchval(
        f"UPDATE api_keys SET {told or 'name = name'} WHERE key_id = $1 AND revoked_at IS NULL RETURNING true",
        key_id,
        *changes.values(),
    )
    return bool(done)


async def rotate(session: WriteSession, key_id: UUID, *, key: str, old_until: datetime) -> bool:
    """Give a key a new secret; those it had are valid until then at most. False where there is no valid key of this id.

    Relies on the primary key, and on `rotated_keys_key_id_idx`.
    """
    old = await session.fetchval(
        "SELECT key_hash FROM api_keys WHERE key_id = $1 AND revoked_at IS NULL "
        "AND (expires_at IS NULL OR expires_at > now()) FOR UPDATE",
        key_id,
    )
    if old is None:
        return False
    await session.execute(
        "UPDATE rotated_keys SET valid_until = $2 WHERE key_id = $1 AND valid_until > $2", key_id, old_until
    )
    await session.execute(
        "INSERT INTO rotated_keys (key_hash, key_id, valid_until) VALUES ($1, $2, $3)", old, key_id, old_until
    )
    await session.execute("UPDATE api_keys SET key_hash = $2 WHERE key_id = $1", key_id, hash_key(key))
    return True


async def revoke(session: WriteSession, key_id: UUID) -> bool:
    """Revoke a key, with every secret it has; False where there is none of this id, or it is revoked already."""
    done = await session.fetchval(
        "UPDATE api_keys SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL RETURNING true", key_id
    )
    return bool(done)


async def used(session: WriteSession, last: Mapping[UUID, datetime]) -> None:
    """Put down when keys were last used, where what stands there is a minute older. Relies on the primary key.

    A key that another process is writing of at this moment is left to it.
    """
    await session.execute(
        "UPDATE api_keys k SET last_used_at = u.at FROM unnest($1::uuid[], $2::timestamptz[]) AS u (key_id, at), "
        "(SELECT key_id FROM api_keys WHERE key_id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED) AS mine "
        "WHERE k.key_id = u.key_id AND k.key_id = mine.key_id "
        "AND (k.last_used_at IS NULL OR k.last_used_at <= u.at - interval '1 minute')",
        list(last),
        list(last.values()),
    )
