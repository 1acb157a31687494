"""Quarantine: what was refused is kept as received, with the reasons."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import Problem
from percorso.storage.database import WriteSession


@dataclass(frozen=True, slots=True)
class Rejection:
    """One refused item. `payload` is its head where it was too large; `size` is what was received, in bytes."""

    id: UUID
    received_at: datetime
    source: str | None
    sender_id: str | None
    problems: Sequence[Problem]
    payload: bytes
    size: int
    format: str


def new_id(at: datetime, seed: bytes | None = None) -> UUID:
    """A time-ordered id for a rejection: the same one for the same `seed` of 10 bytes, else a new one."""
    seed = seed or secrets.token_bytes(10)
    return UUID(ids.interaction_id(ids.unix_ms(at), seed[:4], seed[4:]))


async def insert(session: WriteSession, rejections: Sequence[Rejection]) -> None:
    """Put refused items into quarantine, unless an earlier try has put them there."""
    await session.executemany(
        "INSERT INTO rejected_interactions "
        "(rejection_id, received_at, source, sender_id, errors, payload, size, format) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (rejection_id) DO NOTHING",
        [
            (
                rejection.id,
                rejection.received_at,
                rejection.source,
                rejection.sender_id,
                json.dumps([problem.as_json() for problem in rejection.problems]),
                rejection.payload,
                rejection.size,
                rejection.format,
            )
            for rejection in rejections
        ],
    )
