"""Suspicions: links that were not made and identifiers that join nobody, for review, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

Why = Literal["split_before", "too_many", "shared"]
LIST: Final = "suspected"
"""The name of the list, in its cursors."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An identity that a suspicion is about."""

    identity_id: UUID
    kind: str
    value: str
    strong: bool
    customer_id: UUID


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Two identities whose link was stopped, or one that joins nobody; `suspects` lacks those erased since."""

    suspicion_id: UUID
    why: Why
    suspects: Sequence[Suspect]
    detail: dict[str, Any]
    times: int
    first_at: datetime
    last_at: datetime
    interaction_id: UUID | None
    source: str | None
    decided_at: datetime | None
    decided_by: str | None
    decision: str | None
    reason: str | None


_SELECT = (
    "SELECT s.suspicion_id, s.why, s.detail, s.times, s.first_at, s.last_at, s.interaction_id, s.source, "
    "s.decided_at, s.decided_by, s.decision, s.reason, "
    "a.identity_id AS a_id, a.kind AS a_kind, a.value AS a_value, a.strong AS a_strong, a.customer_id AS a_customer, "
    "b.identity_id AS b_id, b.kind AS b_kind, b.value AS b_value, b.strong AS b_strong, b.customer_id AS b_customer "
    "FROM identity_suspicions s LEFT JOIN identities a ON a.identity_id = s.identity_a "
    "LEFT JOIN identities b ON b.identity_id = s.identity_b"
)


async def page(
    session: ReadSession, *, why: Why | None, decided: bool | None, limit: int, after: UUID | None
) -> Page[Suspicion]:
    """One keyset page, by when each first arose. Relies on the primary key, which is ordered by time."""
    rows = await session.fetch(
        f"{_SELECT} WHERE s.suspicion_id < $1 AND ($3::text IS NULL OR s.why = $3) "
        "AND ($4::bool IS NULL OR (s.decided_at IS NOT NULL) = $4) ORDER BY s.suspicion_id DESC LIMIT $2",
        after or ids.HIGHEST,
        limit + 1,
        why,
        decided,
    )
    items = [_suspicion(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(items, None)
    return Page(items, cursor.encode(items[-1].suspicion_id.bytes, list_=LIST))


async def by_id(session: ReadSession, suspicion_id: UUID) -> Suspicion:
    """The suspicion of this id. Relies on the primary key."""
    row = await session.fetchrow(f"{_SELECT} WHERE s.suspicion_id = $1", suspicion_id)
    if row is None:
        raise NotFound("No suspicion has this id.")
    return _suspicion(row)


def _suspicion(row: Record) -> Suspicion:
    suspects = [
        Suspect(*(row[f"{side}_{name}"] for name in ("id", "kind", "value", "strong", "customer")))
        for side in "ab"
        if row[f"{side}_id"] is not None
    ]
    names = (
        "suspicion_id", "why", "times", "first_at", "last_at", "interaction_id", "source", "decided_at", "decided_by",
        "decision", "reason", "detail",
    )  # fmt: skip
    return Suspicion(suspects=suspects, **{name: row[name] for name in names})
