"""Lists of interactions by place in the list and with a count of all, as TMF683 wants them; newest first."""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from percorso.queries.interactions import COLUMNS, Found
from percorso.storage.database import ReadSession

MOST_SEARCHED: Final = 10_000
"""How far into a list that had to be searched for one may ask: so many are kept in order meanwhile."""
_READ: Final = 500
_TOGETHER: Final = 100
"""Rows that are looked at before others have their turn: some milliseconds of work."""

_PLACES: Final = "SELECT touchpoint_id FROM touchpoints"
_PLACE: Final = f"{_PLACES} WHERE slug = $1"


async def page(session: ReadSession, *, touchpoint: str | None, offset: int, limit: int) -> tuple[Sequence[Found], int]:
    """The interactions at these places of the list of all, or of those at a touchpoint; and how many there are.

    Relies on the index on `(touchpoint_id, id)`: of each touchpoint no more is read of it than `offset + limit`, and
    counting reads it alone. Touchpoints that were merged are listed as what they were sent as.
    """
    given = () if touchpoint is None else (touchpoint,)
    places = _PLACES if touchpoint is None else _PLACE
    first = len(given) + 1
    rows = await session.fetch(
        f"SELECT i.* FROM (SELECT of.* FROM ({places}) AS at CROSS JOIN LATERAL ("
        "SELECT touchpoint_id, id FROM interactions WHERE touchpoint_id = at.touchpoint_id "
        f"ORDER BY id DESC LIMIT ${first}::bigint + ${first + 1}::bigint) AS of "
        f"ORDER BY of.id DESC OFFSET ${first}::bigint LIMIT ${first + 1}::bigint) AS of "
        f"CROSS JOIN LATERAL (SELECT {COLUMNS} FROM interactions "
        "WHERE touchpoint_id = of.touchpoint_id AND id = of.id LIMIT 1) AS i ORDER BY i.id DESC",
        *given,
        offset,
        limit,
    )
    narrowed = "" if touchpoint is None else f" WHERE touchpoint_id = ({_PLACE})"
    total = await session.fetchval(f"SELECT count(*) FROM interactions{narrowed}", *given)
    return [Found(*row) for row in rows], total


async def searched(
    session: Any, fits: Callable[[Found], bool], *, touchpoint: str | None, offset: int, limit: int
) -> tuple[Sequence[Found], int]:
    """The same of those that fit, each of which has to be read to be told: TooMuch where that takes too long.

    `session` is that of a call of analytics. Relies on the index on `(touchpoint_id, id)` for those at a touchpoint;
    else on nothing: all there are is read.
    """
    given = () if touchpoint is None else (touchpoint,)
    narrowed = "" if touchpoint is None else f" WHERE touchpoint_id = ({_PLACE})"
    newest: list[tuple[UUID, UUID, Found]] = []
    total = looked_at = 0
    async with session.transaction(isolation="repeatable_read", readonly=True):
        async for row in session.cursor(f"SELECT {COLUMNS} FROM interactions{narrowed}", *given, prefetch=_READ):
            looked_at += 1
            if looked_at % _TOGETHER == 0:
                await asyncio.sleep(0)
            found = Found(*row)
            if fits(found):
                total += 1
                entry = (found.interaction_id, found.identity_id, found)
                if len(newest) < offset + limit:
                    heapq.heappush(newest, entry)
                else:
                    heapq.heappushpop(newest, entry)
    ordered = [found for _, _, found in sorted(newest, reverse=True)]
    return ordered[offset : offset + limit], total
