"""The journey: the interactions of every identity of a customer, merged in time order."""

from collections.abc import Iterator, Sequence
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

    Newest first, it looks in the latest quarter, and where that does not fill the page in all that is older; oldest
    first, there is no telling where to begin, and it looks everywhere at once.
    """
    wanted = filters.limit + 1
    items: list[Found] = []
    rows: Sequence[Record] = ()
    for low, high in _windows(filters):
        rows = await _read(session, identity, low, high, filters, wanted - len(items))
        if not rows:
            raise UnknownCustomer("No identifier and no customer id matches.")
        items += [Found(*row[:-1]) for row in rows if row["id"] is not None]
        if len(items) == wanted:
            position = items[-2].interaction_id.bytes
            return Journey(
                rows[0]["customer_id"], items[:-1], cursor.encode(position, list_=f"journey-{filters.order}")
            )
    return Journey(rows[0]["customer_id"], items, None)


def _windows(filters: Filters) -> Iterator[tuple[UUID, UUID]]:
    """Ranges of ids that together are what is wanted, in the order of the page."""
    low, high = filters.bounds()
    if filters.order == "desc":
        latest = ids.from_unix_ms(min(ids.occurred_ms(high.bytes), ids.unix_ms(datetime.now(UTC))))
        near = ids.first_id_at(latest - _NEAR)
        if low < near < high:
            yield near, high
            high = near
    yield low, high


async def _read(
    session: ReadSession, identity: UUID, low: UUID, high: UUID, filters: Filters, limit: int
) -> Sequence[Record]:
    """Rows of COLUMNS and `customer_id`; an identity that has none gives one row without an id, which comes last."""
    arguments: list[Any] = [identity, low, high, limit]
    return await session.fetch(
        "SELECT i.*, of.customer_id FROM identities one JOIN identities of ON of.customer_id = one.customer_id "
        f"LEFT JOIN LATERAL (SELECT {COLUMNS} FROM interactions WHERE identity_id = of.identity_id "
        f"AND id >= $2 AND id < $3{filters.where(arguments)} ORDER BY id {filters.order} LIMIT $4) AS i ON true "
        f"WHERE one.identity_id = $1 ORDER BY i.id {filters.order} NULLS LAST LIMIT $4",
        *arguments,
    )
