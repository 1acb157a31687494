"""The audit log: who read or did what to whom, and whether the chain of it is whole."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.audit import FIRST, READ, Entry, Head, seal
from percorso.storage.database import ReadSession

_COLUMNS: Final = "seq, at, act, actor, key_id, subject, details::text AS details, previous, hash"
_LIST: Final = "audit"
_POSITION: Final = struct.Struct(">qq")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Filters:
    """What the log is narrowed to; None does not narrow. `subjects` are identities of one customer."""

    subjects: Sequence[UUID] | None = None
    act: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """Where the chain is first broken, and how that shows."""

    seq: int
    why: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of computing the chain again: how many rows, the head, and where it is broken, if it is."""

    rows: int
    head: Head
    broken: Broken | None


async def page(session: ReadSession, filters: Filters, *, limit: int, after: str | None) -> Page[Record]:
    """One keyset page, newest first.

    Relies on `audit_log_at_seq_idx`, on `audit_log_subject_at_seq_idx` where a subject is named, and on
    `audit_log_act_at_seq_idx` for acts other than reads, which are few.
    """
    arguments: list[Any] = [limit + 1]
    conditions = ["true"]

    def narrow(condition: str, *values: Any) -> None:
        if values[0] is not None:
            first = len(arguments) + 1
            arguments.extend(values)
            conditions.append(condition.format(*(f"${first + number}" for number in range(len(values)))))

    narrow("subject = ANY({})", filters.subjects)
    narrow("act = {}" if filters.act == READ else f"act = {{}} AND act <> '{READ}'", filters.act)
    narrow("actor = {}", filters.actor)
    narrow("at >= {}", filters.since)
    narrow("at < {}", filters.until)
    if after is not None:
        micros, seq = _POSITION.unpack(cursor.decode(after, list_=_LIST, size=_POSITION.size))
        narrow("(at, seq) < ({}, {})", _EPOCH + timedelta(microseconds=micros), seq)
    rows = await session.fetch(
        f"SELECT {_COLUMNS} FROM audit_log WHERE {' AND '.join(conditions)} ORDER BY at DESC, seq DESC LIMIT $1",
        *arguments,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[-2]
    position = _POSITION.pack((last["at"] - _EPOCH) // timedelta(microseconds=1), last["seq"])
    return Page(rows[:-1], cursor.encode(position, list_=_LIST))


async def head(session: ReadSession) -> Head:
    """The last row of the chain. Relies on the primary key."""
    row = await session.fetchrow("SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1")
    return Head(0, FIRST) if row is None else Head(*row)


async def subjects(session: ReadSession, identity_id: UUID) -> list[UUID]:
    """The identities that a customer has or, where it was erased, had: rows of the log name one of them.

    Relies on the primary keys, `identities_customer_id_idx` and `erased_identities_erasure_id_idx`.
    """
    rows = await session.fetch(
        "SELECT m.identity_id FROM identities one JOIN identities m ON m.customer_id = one.customer_id "
        "WHERE one.identity_id = $1 "
        "UNION SELECT m.identity_id FROM erased_identities one JOIN erased_identities m USING (erasure_id) "
        "WHERE one.identity_id = $1 UNION SELECT $1",
        identity_id,
    )
    return [row["identity_id"] for row in rows]


async def verify(session: ReadSession, kept: Mapping[int, bytes]) -> Verified:
    """Compute the chain again, and hold it against heads that were `kept` elsewhere, by number.

    Every row is read once, by the primary key; the session must see the same throughout. The certificates of erasures
    keep a head each: those are held against it too.
    """
    heads = {row["audit_seq"]: row["audit_hash"] for row in await session.fetch(_CERTIFIED)} | dict(kept)
    last, rows = Head(0, FIRST), 0
    while found := await session.fetch(_NEXT, last.seq if rows else -(1 << 63), _ROWS_AT_ONCE):
        for row in found:
            if why := _wrong(row, last) or _other(heads, row["seq"], row["hash"]):
                return Verified(rows, last, Broken(min(row["seq"], last.seq + 1), why))
            last, rows = Head(row["seq"], row["hash"]), rows + 1
    missing = min((seq for seq in heads if seq > last.seq), default=None)
    if missing is not None:
        return Verified(rows, last, Broken(last.seq + 1, f"is missing, and all after it: there was a row {missing}"))
    return Verified(rows, last, None)


_CERTIFIED: Final = "SELECT audit_seq, audit_hash FROM erasures WHERE audit_seq IS NOT NULL"
_NEXT: Final = f"SELECT {_COLUMNS} FROM audit_log WHERE seq > $1 ORDER BY seq LIMIT $2"


def _wrong(row: Record, last: Head) -> str | None:
    """What is wrong with a row that follows `last`; None where nothing is."""
    if row["seq"] > last.seq + 1:
        return f"is missing: after it comes {row['seq']}"
    if row["seq"] <= last.seq:
        return "was put before the first row"
    if row["previous"] != last.hash:
        return "does not follow the row before it: one of the two was put in, or that one changed"
    entry = Entry(
        act=row["act"],
        at=row["at"],
        details=json.loads(row["details"]),
        subject=row["subject"],
        actor=row["actor"],
        key_id=row["key_id"],
    )
    return None if seal(last.hash, row["seq"], entry) == row["hash"] else "was changed: it does not have its hash"


def _other(heads: Mapping[int, bytes], seq: int, found: bytes) -> str | None:
    return None if heads.get(seq, found) == found else "has another hash than was kept of it: the chain was made anew"
