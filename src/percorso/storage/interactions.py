"""The facts: stored once, enriched on request, deleted on request."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
from asyncpg.pgproto.pgproto import UUID

from percorso.storage import copying
from percorso.storage.consents import Consent
from percorso.storage.database import WriteSession
from percorso.storage.identities import Identifier

_COLUMNS = (
    "identity_id", "id", "received_at", "touchpoint_id", "channel", "kind", "function", "direction", "traceparent",
    "document",
)  # fmt: skip
_NULL: Final = copying.text(None)
_KEY_COLUMNS = ("key", "identity_id", "interaction_id")


class Row(msgspec.Struct, eq=False, gc=False):
    """One interaction, ready to be stored. `identifiers` has the strongest first: it is stored under that.

    `consent` is what it says of contact by its channel; few say anything. `traceparent` is that of the request it came
    in, `rejection_id` that of the item in quarantine which it is replayed from.
    """

    key: UUID
    id: UUID
    identifiers: Sequence[Identifier]
    received_at: datetime
    occurred_ms: int
    source: str
    touchpoint: str
    channel: str
    kind: str | None
    function: str | None
    direction: str
    document: bytes
    time_assigned: bool
    consent: Consent | None
    traceparent: str | None = None
    rejection_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What stands under a dedup key; `document` is as first received, None where the interaction was deleted.

    `enriched` is what the interaction says now, where that is not as first received.
    """

    identity_id: UUID
    interaction_id: UUID
    received_at: datetime | None
    document: str | None
    enriched: str | None


class Sender(msgspec.Struct):
    """Of a stored document, who sent it, under which id: what its key is made of."""

    source: str
    id: str


sender_of: Final = msgspec.json.Decoder(Sender).decode

_key_row: Final = struct.Struct(">hi16si16si16s").pack
_row_head: Final = struct.Struct(">hi16si16siqii").pack


@lru_cache(4096)
def _words(channel: str, kind: str | None, function: str | None, direction: str) -> bytes:
    return b"".join(map(copying.text, (channel, kind, function, direction)))


async def copy(session: WriteSession, rows: Sequence[Row], touchpoint_ids: Mapping[str, int]) -> None:
    """Store rows whose keys are stored in the same transaction."""
    fields = len(_COLUMNS)
    binary: list[bytes] = []
    at: datetime | None = None
    received = 0
    for row in rows:
        if row.received_at is not at:
            # What came together was received together.
            at = row.received_at
            received = copying.microseconds(at)
        identity, touchpoint = row.identifiers[0].id.bytes, touchpoint_ids[row.touchpoint]
        binary += (
            _row_head(fields, 16, identity, 16, row.id.bytes, 8, received, 4, touchpoint),
            _words(row.channel, row.kind, row.function, row.direction),
            _NULL if row.traceparent is None else copying.text(row.traceparent),
            copying.length(len(row.document)),
            row.document,
        )
    await copying.copy(session, "interactions", _COLUMNS, binary)


async def copy_keys(session: WriteSession, rows: Sequence[Row]) -> None:
    """Store the keys of rows, sorted by key; asyncpg.UniqueViolationError where one is stored already."""
    await copying.copy(
        session,
        "interaction_keys",
        _KEY_COLUMNS,
        [_key_row(3, 16, row.key.bytes, 16, row.identifiers[0].id.bytes, 16, row.id.bytes) for row in rows],
    )


async def insert_new_keys(session: WriteSession, rows: Sequence[Row]) -> set[UUID]:
    """Store the keys of rows, sorted by key, that are not stored yet, and say which were new."""
    new = await session.fetch(
        "INSERT INTO interaction_keys (key, identity_id, interaction_id) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) ON CONFLICT DO NOTHING RETURNING key",
        [row.key for row in rows],
        [row.identifiers[0].id for row in rows],
        [row.id for row in rows],
    )
    return {record["key"] for record in new}


async def stored_under(session: WriteSession, keys: Sequence[UUID]) -> dict[UUID, Stored]:
    """What stands under these keys, by key. Relies on the primary keys.

    `LIMIT` keeps each look-up to its one partition: joined plainly, a batch of a hundred reads all of them.
    """
    records = await session.fetch(
        "SELECT k.key, k.identity_id, k.interaction_id, i.received_at, "
        "coalesce(r.document, i.document)::text AS document, "
        "CASE WHEN i.revision > 0 THEN i.document::text END AS enriched "
        "FROM interaction_keys k "
        "LEFT JOIN LATERAL (SELECT received_at, revision, document FROM interactions "
        "WHERE identity_id = k.identity_id AND id = k.interaction_id LIMIT 1) AS i ON true "
        "LEFT JOIN LATERAL (SELECT document FROM interaction_revisions WHERE i.revision > 0 "
        "AND identity_id = k.identity_id AND interaction_id = k.interaction_id AND revision = 0 LIMIT 1) AS r ON true "
        "WHERE k.key = ANY($1)",
        keys,
    )
    return {record["key"]: Stored(*record[1:]) for record in records}


@dataclass(frozen=True, slots=True)
class Held:
    """An interaction locked for a change."""

    identity_id: UUID
    revision: int
    document: str


async def hold(session: WriteSession, interaction_id: UUID, low: UUID, high: UUID) -> Held | None:
    """Lock an interaction until the transaction ends; `low` and `high` bound its identity id. None: there is none."""
    record = await session.fetchrow(
        "SELECT identity_id, revision, document::text AS document FROM interactions "
        "WHERE id = $1 AND identity_id BETWEEN $2 AND $3 FOR UPDATE",
        interaction_id,
        low,
        high,
    )
    return None if record is None else Held(record["identity_id"], record["revision"], record["document"])


async def revise(
    session: WriteSession, interaction_id: UUID, held: Held, document: str, *, at: datetime, by: str
) -> None:
    """Put a new document in the place of a held one, which becomes a revision."""
    await session.execute(
        "INSERT INTO interaction_revisions (identity_id, interaction_id, revision, replaced_at, replaced_by, document) "
        "VALUES ($1, $2, $3, $4, $5, $6::text::json)",
        held.identity_id,
        interaction_id,
        held.revision,
        at,
        by,
        held.document,
    )
    await session.execute(
        "UPDATE interactions SET document = $3::text::json, revision = revision + 1 WHERE identity_id = $1 AND id = $2",
        held.identity_id,
        interaction_id,
        document,
    )


async def delete(session: WriteSession, interaction_id: UUID, held: Held) -> None:
    """Delete a held interaction and its revisions. Its key stays, so that it cannot come back."""
    for table, column in (("interaction_revisions", "interaction_id"), ("interactions", "id")):
        await session.execute(
            f"DELETE FROM {table} WHERE identity_id = $1 AND {column} = $2",
            held.identity_id,
            interaction_id,
        )
