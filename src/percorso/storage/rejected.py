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


def new_id(at: datetime) -> UUID:
    """A time-ordered id for a rejection."""
    return UUID(ids.interaction_id(ids.unix_ms(at), secrets.token_bytes(4), secrets.token_bytes(6)))


async def insert(session: WriteSession, rejections: Sequence[Rejection]) -> None:
    """Put refused items into quarantine."""
    await session.executemany(
        "INSERT INTO rejected_interactions "
        "(rejection_id, received_at, source, sender_id, errors, payload, size, format) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
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
