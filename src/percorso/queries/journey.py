"""The journey: the interactions of every identity of a customer, merged in time order."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.queries.interactions import COLUMNS, Filters, Found
from percorso.storage.database import ReadSession

_WINDOWS: Final = (timedelta(days=92), timedelta(days=366))
"""Planning over many partitions costs more than reading a few: look near first."""


async def page(session: ReadSession, identities: Sequence[UUID], filters: Filters) -> Page[Found]:
    """One keyset page. Relies on the primary key `(identity_id, id)` alone, one short range per identity.

    Newest first, it looks in the latest quarter, then the rest of the year, then all that is older, until the page is
    full; oldest first, there is no telling where to begin, and it looks everywhere at once.
    """
    wanted = filters.limit + 1
    rows: list[Found] = []
    for low, high in _windows(filters):
        rows += await _read(session, identities, low, high, replace(filters, limit=wanted - len(rows)))
        if len(rows) == wanted:
            return Page(rows[:-1], cursor.encode(rows[-2].interaction_id.bytes, list_=f"journey-{filters.order}"))
    return Page(rows, None)


def _windows(filters: Filters) -> Iterator[tuple[UUID, UUID]]:
    """Ranges of ids that together are what is wanted, in the order of the page."""
    low, high = filters.bounds()
    if filters.order == "desc":
        latest = ids.from_unix_ms(min(ids.occurred_ms(high.bytes), ids.unix_ms(datetime.now(UTC))))
        for back in _WINDOWS:
            middle = ids.first_id_at(latest - back)
            if middle <= low:
                break
            if middle < high:
                yield middle, high
                high = middle
    if low < high:
        yield low, high


async def _read(
    session: ReadSession, identities: Sequence[UUID], low: UUID, high: UUID, filters: Filters
) -> list[Found]:
    arguments: list[Any] = [low, high, filters.limit]
    one = (
        f"SELECT {COLUMNS} FROM interactions WHERE identity_id = {{}} AND id >= $1 AND id < $2"
        f"{filters.where(arguments)} ORDER BY id {filters.order} LIMIT $3"
    )
    this = f"${len(arguments) + 1}"
    if len(identities) == 1:
        arguments.append(identities[0])
        sql = one.format(this)
    else:
        arguments.append(identities)
        sql = (
            f"SELECT i.* FROM unnest({this}::uuid[]) AS of(identity) "
            f"CROSS JOIN LATERAL ({one.format('of.identity')}) AS i ORDER BY id {filters.order} LIMIT $3"
        )
    return [Found(*row) for row in await session.fetch(sql, *arguments)]
