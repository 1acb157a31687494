"""The registry of touchpoints, and what happened at one."""

from bisect import bisect_right
from collections.abc import Mapping
from struct import Struct
from typing import Any

from asyncpg import Record

from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.queries.interactions import COLUMNS, Filters, Found
from percorso.storage.database import ReadSession

FIRST = 0
"""The position before every touchpoint."""

_ID_BYTES = 4
_RANK = Struct(">QI")
_MOST = 2**31 - 1
_SAID = "touchpoint_id, slug, channel, name, function, stage, owner, location, discovered, created_at, updated_at"


async def page(session: ReadSession, *, limit: int, after: int) -> Page[Record]:
    """Touchpoints in the order they were registered. Relies on the primary key."""
    rows = await session.fetch(
        f"SELECT {_SAID} FROM touchpoints WHERE touchpoint_id > $1 ORDER BY touchpoint_id LIMIT $2", after, limit + 1
    )
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["touchpoint_id"].to_bytes(_ID_BYTES, "big"), list_="touchpoints"))


def position(given: str) -> int:
    """Where the page begins that a cursor of this list leads to."""
    return min(int.from_bytes(cursor.decode(given, list_="touchpoints", size=_ID_BYTES), "big"), _MOST)


async def ranked(
    session: ReadSession, counts: Mapping[int, int], *, limit: int, after: tuple[int, int] | None, by: str
) -> Page[Record]:
    """Touchpoints with most of what is counted by their ids first, and among equals in the order of registration.

    `after` is where a cursor leads to. Relies on the primary key.
    """
    order = sorted((-count, number) for number, count in counts.items() if count > 0)
    if after is not None:
        order = order[bisect_right(order, (-after[0], after[1])) :]
    some = await session.fetch(
        f"SELECT {_SAID} FROM touchpoints WHERE touchpoint_id = ANY($1)", [number for _, number in order[: limit + 1]]
    )
    known = {row["touchpoint_id"]: row for row in some}
    rows = [known[number] for _, number in order[: limit + 1] if number in known]
    if len(rows) <= limit:
        first = after[1] if after is not None and after[0] == 0 else FIRST
        rows += await session.fetch(
            f"SELECT {_SAID} FROM touchpoints WHERE touchpoint_id > $1 AND NOT touchpoint_id = ANY($2) "
            "ORDER BY touchpoint_id LIMIT $3",
            first,
            [number for number, count in counts.items() if count > 0],
            limit + 1 - len(rows),
        )
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]["touchpoint_id"]
    place = _RANK.pack(counts.get(last, 0), last)
    return Page(rows[:limit], cursor.encode(place, list_=f"touchpoints-{by}"))


def rank(given: str, *, by: str) -> tuple[int, int]:
    """Where the page begins that a cursor of a list by this count leads to."""
    count, number = _RANK.unpack(cursor.decode(given, list_=f"touchpoints-{by}", size=_RANK.size))
    return count, min(number, _MOST)


async def by_slug(session: ReadSession, slug: str) -> Record:
    """The touchpoint of this slug. Relies on its unique key."""
    row = await session.fetchrow(f"SELECT {_SAID} FROM touchpoints WHERE slug = $1", slug)
    if row is None:
        raise NotFound("No touchpoint has this slug.")
    return row


async def interactions(session: ReadSession, touchpoint_id: int, filters: Filters) -> Page[Found]:
    """One keyset page of what happened at a touchpoint. Relies on the index on `(touchpoint_id, id)`."""
    low, high = filters.bounds()
    arguments: list[Any] = [touchpoint_id, low, high, filters.limit + 1]
    rows = await session.fetch(
        f"SELECT {COLUMNS} FROM interactions WHERE touchpoint_id = $1 AND id >= $2 AND id < $3"
        f"{filters.where(arguments)} ORDER BY id {filters.order} LIMIT $4",
        *arguments,
    )
    items = [Found(*row) for row in rows]
    if len(items) <= filters.limit:
        return Page(items, None)
    return Page(items[:-1], cursor.encode(items[-2].interaction_id.bytes, list_=f"touchpoint-{filters.order}"))
