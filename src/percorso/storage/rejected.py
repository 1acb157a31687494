"""Quarantine: what was refused is kept as received, with the reasons."""

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import Problem
from percorso.storage import epoch
from percorso.storage.database import WriteSession

BETWEEN: Final = " ()./-"
"""What may stand between the digits of a phone number; texts are searched for needles without any of it."""

MATCHES: Final = (
    "coalesce((SELECT bool_or("
    f"CASE WHEN translate(lower(said), '{BETWEEN}', '') LIKE ANY({{needles}}) THEN said ~* {{pattern}} END) "
    "FROM (VALUES (encode(payload, 'escape')), (encode(convert_to("
    "concat_ws(' ', source, sender_id, errors::text, replay_errors::text), 'UTF8'), 'escape'))) AS texts(said)), false)"
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
    """One refused item. `payload` is its head where it was too large; `size` is what was received, in bytes.

    `reasons` are its problems without their values, which group; `channel` is what could be read of it.
    """

    id: UUID
    received_at: datetime
    source: str | None
    sender_id: str | None
    problems: Sequence[Problem]
    payload: bytes
    size: int
    format: str
    channel: str | None
    reasons: Sequence[str]
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
        "(rejection_id, received_at, source, sender_id, errors, payload, size, format, identity_ids, channel, reasons) "
        "SELECT $1, $2, CASE WHEN known THEN $3 END, CASE WHEN known THEN $4 END, $5, "
        "CASE WHEN known THEN $6 ELSE ''::bytea END, $7, $8, CASE WHEN known THEN $9::uuid[] ELSE '{}' END, $10, $11 "
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
                rejection.channel,
                rejection.reasons,
            )
            for rejection in rejections
        ],
    )


class Handled(NamedTuple):
    """What came of an item that was replayed: with an `interaction_id` it is replayed, else it goes on waiting.

    `identity_ids` are those of whoever the interaction names: with them the item is erased.
    """

    rejection_id: UUID
    interaction_id: UUID | None
    identity_ids: Sequence[UUID]
    problems: Sequence[Problem]


async def claim(session: WriteSession, keys: Mapping[UUID, UUID]) -> dict[UUID, UUID | None]:
    """Put down, before items are replayed, under which key each will be: those that may, with the key they had.

    An item that was replayed may not, nor one that had another key: a replay that was cut off may have stored it under
    that. Relies on the primary key.
    """
    rows = await session.fetch(
        "WITH held AS (SELECT rejection_id, replay_key AS had, key FROM rejected_interactions "
        "JOIN unnest($1::uuid[], $2::uuid[]) AS of(id, key) ON rejection_id = id "
        "WHERE rejection_id = ANY($1) AND state <> 'replayed' AND coalesce(replay_key, key) = key "
        "ORDER BY rejection_id FOR UPDATE OF rejected_interactions) "
        "UPDATE rejected_interactions r SET replay_key = key FROM held WHERE r.rejection_id = held.rejection_id "
        "RETURNING r.rejection_id, had",
        list(keys),
        list(keys.values()),
    )
    return {row["rejection_id"]: row["had"] for row in rows}


async def release(session: WriteSession, rejection_ids: Collection[UUID]) -> None:
    """Forget under which key items were to be replayed that were not: under another they may be. By the primary key."""
    await session.execute(
        "UPDATE rejected_interactions SET replay_key = NULL WHERE rejection_id = ANY($1) AND state <> 'replayed'",
        list(rejection_ids),
    )


async def handle(session: WriteSession, handled: Sequence[Handled], *, at: datetime, by: str) -> None:
    """Put down what came of items that were replayed, but of those of which it stands there. By the primary key.

    Of one that turns out to name someone who was erased only the reasons are kept.
    """
    await epoch.share(session)
    await session.executemany(
        "UPDATE rejected_interactions SET handled_at = $5, handled_by = $6, replay_errors = $4, "
        "state = CASE WHEN $2::uuid IS NULL THEN state ELSE 'replayed' END, interaction_id = $2, "
        "source = CASE WHEN known THEN source END, sender_id = CASE WHEN known THEN sender_id END, "
        "payload = CASE WHEN known THEN payload ELSE ''::bytea END, "
        "identity_ids = CASE WHEN known THEN ARRAY(SELECT unnest(identity_ids) UNION SELECT unnest($3::uuid[])) "
        "ELSE '{}' END "
        "FROM (SELECT NOT EXISTS (SELECT FROM erased_identities WHERE identity_id = ANY($3::uuid[]))) AS of(known) "
        "WHERE rejection_id = $1 AND state <> 'replayed'",
        [
            (
                each.rejection_id,
                each.interaction_id,
                each.identity_ids,
                json.dumps([problem.as_json() for problem in each.problems]) if each.problems else None,
                at,
                by,
            )
            for each in sorted(handled)
        ],
    )


async def dismiss(session: WriteSession, rejection_ids: Sequence[UUID], *, at: datetime, by: str) -> list[UUID]:
    """Say of items that wait that nothing is to be done about them; which those are. Relies on the primary key."""
    rows = await session.fetch(
        "WITH held AS (SELECT rejection_id FROM rejected_interactions WHERE rejection_id = ANY($1) "
        "AND state = 'waiting' ORDER BY rejection_id FOR UPDATE) "
        "UPDATE rejected_interactions r SET state = 'dismissed', handled_at = $2, handled_by = $3 "
        "FROM held WHERE r.rejection_id = held.rejection_id RETURNING r.rejection_id",
        rejection_ids,
        at,
        by,
    )
    return [row["rejection_id"] for row in rows]
