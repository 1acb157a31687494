"""Quarantine: what was refused is kept as received, with the reasons."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import Problem
from percorso.storage.database import WriteSession

BETWEEN: Final = " ()./-"
"""What may stand between the digits of a phone number; texts are searched for needles without any of it."""

MATCHES: Final = (
    "coalesce((SELECT bool_or("
    f"CASE WHEN translate(lower(said), '{BETWEEN}', '') LIKE ANY({{needles}}) THEN said ~* {{pattern}} END) "
    "FROM (VALUES (encode(payload, 'escape')), (encode(convert_to("
    "concat_ws(' ', source, sender_id, errors::text), 'UTF8'), 'escape'))) AS texts(said)), false)"
)
"""SQL: whether what was received, or was read of it, matches a pattern, whatever the case.

The pattern is matched with what `encode(…, 'escape')` makes of the bytes, which need be no text; only where one of the
needles is in it, which is looked for in a hundredth of the time.
"""


class Search(NamedTuple):
    """What to look for in what was received: see MATCHES."""

    pattern: str
    needles: Sequence[str]


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
    identity_ids: Sequence[UUID] = ()


def new_id(at: datetime, seed: bytes | None = None) -> UUID:
    """A time-ordered id for a rejection: the same one for the same `seed` of 10 bytes, else a new one."""
    seed = seed or secrets.token_bytes(10)
    return UUID(ids.interaction_id(ids.unix_ms(at), seed[:4], seed[4:]))


async def insert(session: WriteSession, rejections: Sequence[Rejection]) -> None:
    """Put refused items into quarantine, unless an earlier try has put them there.

    Of one that names someone who was erased only the reasons are kept.
    """
    await session.executemany(
        "INSERT INTO rejected_interactions "
        "(rejection_id, received_at, source, sender_id, errors, payload, size, format, identity_ids) "
        "SELECT $1, $2, CASE WHEN known THEN $3 END, CASE WHEN known THEN $4 END, $5, "
        "CASE WHEN known THEN $6 ELSE ''::bytea END, $7, $8, CASE WHEN known THEN $9::uuid[] ELSE '{}' END "
        "FROM (SELECT NOT EXISTS (SELECT FROM erased_identities WHERE identity_id = ANY($9::uuid[]))) AS of(known) "
        "ON CONFLICT (rejection_id) DO NOTHING",
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
                rejection.identity_ids,
            )
            for rejection in rejections
        ],
    )
