"""Who may call: keys, stored as hashes.

A key has 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slow hash would protect.
"""

import secrets
from collections.abc import Sequence
from hashlib import sha256

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession

PREFIX = "pcs_"


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
    rate: float | None = None,
    burst: int | None = None,
) -> UUID:
    """Store a key, unless it is stored already, and give back its id; `rate` is what it may send a second."""
    key_id: UUID = await session.fetchval(
        "INSERT INTO api_keys (key_id, name, key_hash, scopes, rate, burst) "
        "VALUES (gen_random_uuid(), $1, $2, $3, $4, $5) "
        "ON CONFLICT (key_hash) DO UPDATE SET key_hash = excluded.key_hash RETURNING key_id",
        name,
        hash_key(key),
        list(scopes),
        rate,
        burst,
    )
    return key_id


async def revoke(session: WriteSession, key_id: UUID) -> bool:
    """Revoke a key; False where there is none of this id, or it is revoked already."""
    done = await session.fetchval(
        "UPDATE api_keys SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL RETURNING true", key_id
    )
    return bool(done)
