"""The journey: the interactions of every identity of a customer, merged in time order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import UnknownCustomer
from percorso.queries import cursor
from percorso.queries.interactions import COLUMNS, Filters, Found
from percorso.storage.database import ReadSession

_NEAR: Final = timedelta(days=92)
"""To begin with many partitions costs more than to read a few: look near first."""

_FEW: Final = 1000
"""So many interactions are not read only to be sorted."""

_REMEMBERED: Final = 4096
"""Identities of which it is remembered that the latest quarter had too little."""

_sparse: dict[UUID, int] = {}
"""How many interactions were wanted of an identity's customer and not found in a quarter.

Only a hint of where to look first: what a page holds never depends on it.
"""


@dataclass(frozen=True, slots=True)
class Journey:
    """A page of a customer's journey, and where the next begins; None: this is the last."""

    customer_id: UUID
    items: Sequence[Found]
    next_cursor: str | None


async def page(session: ReadSession, identity: UUID, filters: Filters) -> Journey:
    """One keyset page of the customer whom this identity belongs to now; UnknownCustomer where it is none.

    Relies on the primary key and `identities_customer_id_idx` of identities, and on the primary key
    `(identity_id, id)` of interactions, one short range per identity.

    Newest first, it looks in the latest quarter, and where that does not fill the page in all that is older; where a
    quarter did not fill the last page either, everywhere at once. Oldest first, there is no telling where to begin, and
    it looks everywhere at once too.
    """
    wanted = filters.limit + 1
    low, high = filters.bounds()
    near = _near(low, high, filters)
    if near is None:
        rows = await _ranges(session, identity, low, high, filters, wanted)
        items = _found(rows)
    elif wanted >= _sparse.get(identity, wanted + 1):
        rows = await _whole(session, identity, low, high, filters, wanted)
        items = _found(rows)
    else:
        rows = await _ranges(session, identity, near, high, filters, wanted)
        items = _found(rows)
        if rows and len(items) < wanted:
            older = _ranges if len({row["identity_id"] for row in rows}) == 1 else _whole
            items += _found(await older(session, identity, low, near, filters, wanted - len(items)))
    if not rows:
        raise UnknownCustomer("No identifier and no customer id matches.")
    if near is not None and not filters.where([]):
        _note(identity, wanted, enough=len(items) == wanted and items[-1].interaction_id >= near)
    customer_id = rows[0]["customer_id"]
    if len(items) < wanted:
        return Journey(customer_id, items, None)
    position = items[-2].interaction_id.bytes
    return Journey(customer_id, items[:-1], cursor.encode(position, list_=f"journey-{filters.order}"))


def _near(low: UUID, high: UUID, filters: Filters) -> UUID | None:
    """Where the latest quarter of this range begins; None where the range is to be read undivided."""
    if filters.order == "asc":
        return None
    latest = ids.from_unix_ms(min(ids.occurred_ms(high.bytes), ids.unix_ms(datetime.now(UTC))))
    near = ids.first_id_at(latest - _NEAR)
    return near if low < near < high else None


def _note(identity: UUID, wanted: int, *, enough: bool) -> None:
    """Remember whether the latest quarter had as many as were wanted."""
    if enough:
        _sparse.pop(identity, None)
        return
    _sparse[identity] = min(wanted, _sparse.get(identity, wanted))
    if len(_sparse) > _REMEMBERED:
        del _sparse[next(iter(_sparse))]


def _found(rows: Sequence[Record]) -> list[Found]:
    """The interactions of rows; a row without is there to say that the customer exists."""
    return [Found(*row[: len(Found._fields)]) for row in rows if row["id"] is not None]


async def _ranges(
    session: ReadSession, identity: UUID, low: UUID, high: UUID, filters: Filters, limit: int
) -> Sequence[Record]:
    """Read each identity's range by itself, and of each no more than is wanted, however much there is.

    An identity that has none gives one row without an interaction, which comes last.
    """
    arguments: list[Any] = [identity, low, high, limit]
    return await session.fetch(
        "SELECT i.id, of.identity_id, i.received_at, i.document, i.revision, i.traceparent, of.customer_id "
        "FROM identities one JOIN identities of ON of.customer_id = one.customer_id "
        f"LEFT JOIN LATERAL (SELECT {COLUMNS} FROM interactions WHERE identity_id = of.identity_id "
        f"AND id >= $2 AND id < $3{filters.where(arguments)} ORDER BY id {filters.order} LIMIT $4) AS i ON true "
        f"WHERE one.identity_id = $1 ORDER BY i.id {filters.order} NULLS LAST LIMIT $4",
        *arguments,
    )


async def _whole(
    session: ReadSession, identity: UUID, low: UUID, high: UUID, filters: Filters, limit: int
) -> Sequence[Record]:
    """Read all that identities have in this range and sort it, newest first; where it is not few, each by itself.

    With many identities and many partitions, most ranges are empty: here a partition is visited once for all of them.
    """
    arguments: list[Any] = [identity, low, high, limit, _FEW]
    rows = await session.fetch(
        "SELECT i.*, one.customer_id, count(i.id) OVER () AS read FROM identities one LEFT JOIN ("
        f"SELECT {COLUMNS} FROM interactions WHERE identity_id = ANY(ARRAY("
        "SELECT of.identity_id FROM identities one JOIN identities of ON of.customer_id = one.customer_id "
        f"WHERE one.identity_id = $1)) AND id >= $2 AND id < $3{filters.where(arguments)} LIMIT $5) AS i ON true "
        "WHERE one.identity_id = $1 ORDER BY i.id DESC NULLS LAST LIMIT $4",
        *arguments,
    )
    if not rows or rows[0]["read"] < _FEW:
        return rows
    return await _ranges(session, identity, low, high, filters, limit)
