"""The audit log: who read or did what to whom, each row sealed by the next.

The hash of a row is SHA-256 over the hash of the row before and the row itself as canonical JSON (members in order of
name, no white space, ASCII): `seq at act actor key_id subject details`, times in UTC to the microsecond, ids in their
usual form. So a row that is changed, removed or put in between is found by whoever computes the chain again. Rows cut
off its end are found by whoever kept a later head: every certificate of an erasure keeps one.

Nothing personal stands in it: a customer is named by the salted hash that is an identity's id, and the words of a
reason by their keyed hash.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession

FIRST: Final = bytes(32)
"""What stands for the hash of the row before the first."""

READ: Final = "read"
"""The act of reading one customer or one interaction, which is by far the most frequent."""

_LOCK: Final = 0x70657263_61756474
"""Advisory lock: the chain grows by one transaction at a time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be put down. `details` are ids, counts and words of this program, never what anyone gave."""

    act: str
    at: datetime
    details: Mapping[str, Any]
    subject: UUID | None = None
    actor: str | None = None
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of the chain."""

    seq: int
    hash: bytes


def seal(previous: bytes, seq: int, entry: Entry) -> bytes:
    """The hash of the row of this number, which follows the row with the hash `previous`."""
    row = {
        "seq": seq,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "act": entry.act,
        "actor": entry.actor,
        "key_id": None if entry.key_id is None else str(entry.key_id),
        "subject": None if entry.subject is None else str(entry.subject),
        "details": entry.details,
    }
    return sha256(previous + json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).digest()


def reason_hash(salt: bytes, reason: str) -> bytes:
    """What is kept of a reason that a person gave: whoever knows its words can show that they were these."""
    return blake2b(reason.encode(), digest_size=32, key=salt, person=b"reason").digest()


async def record(session: WriteSession, entries: Sequence[Entry]) -> Head:
    """Put these down, at least one, as part of this transaction; the last of them is the new head.

    Takes the lock on the chain: nothing that can wait for another transaction may follow it but the commit.
    """
    await session.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    last = await session.fetchrow("SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1")
    seq, head = (0, FIRST) if last is None else (last["seq"], last["hash"])
    rows: list[tuple[Any, ...]] = []
    for seq, entry in enumerate(entries, seq + 1):  # noqa: B020 - it is where the numbers go on from
        previous, head = head, seal(head, seq, entry)
        details = json.dumps(entry.details)
        rows.append((seq, entry.at, entry.act, entry.actor, entry.key_id, entry.subject, details, previous, head))
    await session.execute(
        "INSERT INTO audit_log (seq, at, act, actor, key_id, subject, details, previous, hash) "
        "SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], "
        "$7::jsonb[], $8::bytea[], $9::bytea[])",
        *map(list, zip(*rows, strict=True)),
    )
    return Head(seq, head)
