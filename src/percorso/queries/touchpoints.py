"""The registry of touchpoints, which of them count as one, and what happened at each."""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from struct import Struct
from typing import Any, NamedTuple

from asyncpg import Record

from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.queries.interactions import COLUMNS, TOUCHPOINTS, Filters, Found
from percorso.storage.database import ReadSession

FIRST = 0
"""The position before every touchpoint."""

_ID_BYTES = 4
_RANK = Struct(">QI")
_MOST = 2**31 - 1
_CHANGES = 100
_SAID = (
    "t.touchpoint_id, t.slug, t.channel, t.name, t.function, t.stage, t.owner, t.location, t.discovered, t.created_at, "
    "t.updated_at, (SELECT i.slug FROM touchpoints i WHERE i.touchpoint_id = t.merged_into) AS merged_into, "
    "ARRAY(SELECT m.slug FROM touchpoints m WHERE m.merged_into = t.touchpoint_id ORDER BY m.touchpoint_id) AS merged"
)


class Change(NamedTuple):
    """A merge of a touchpoint into another, or its undoing (`unmerged`): who, when and why."""

    slug: str
    into: str
    what: str
    at: datetime
    by: str
    reason: str


async def page(session: ReadSession, *, limit: int, after: int, discovered: bool | None = None) -> Page[Record]:
    """Touchpoints that count as themselves, in the order they were registered; only `discovered` ones, or only others.

    Relies on the primary key, and on the index on `merged_into` for the slugs that count as each.
    """
    rows = await session.fetch(
        f"SELECT {_SAID} FROM touchpoints t WHERE touchpoint_id > $1 AND merged_into IS NULL "
        "AND ($3::boolean IS NULL OR discovered = $3) ORDER BY touchpoint_id LIMIT $2",
        after,
        limit + 1,
        discovered,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["touchpoint_id"].to_bytes(_ID_BYTES, "big"), list_="touchpoints"))


def position(given: str) -> int:
    """Where the page begins that a cursor of this list leads to."""
    return min(int.from_bytes(cursor.decode(given, list_="touchpoints", size=_ID_BYTES), "big"), _MOST)


async def ranked(
    session: ReadSession,
    counts: Mapping[int, int],
    *,
    limit: int,
    after: tuple[int, int] | None,
    by: str,
    discovered: bool | None = None,
) -> Page[Record]:
    """Touchpoints with most of what is counted by their ids first, and among equals in the order of registration.

    As for `page`; `after` is where a cursor leads to. Relies on the primary key, and on the index on `merged_into`.
    """
    order = sorted((-count, number) for number, count in counts.items() if count > 0)
    if after is not None:
        order = order[bisect_right(order, (-after[0], after[1])) :]
    # Which of them are discovered ones is not known before.
    wanted = [number for _, number in (order[: limit + 1] if discovered is None else order)]
    known: dict[int, Record] = {}
    if wanted:
        some = await session.fetch(
            f"SELECT {_SAID} FROM touchpoints t WHERE touchpoint_id = ANY($1) AND merged_into IS NULL "
            "AND ($2::boolean IS NULL OR discovered = $2)",
            wanted,
            discovered,
        )
        known = {row["touchpoint_id"]: row for row in some}
    rows = [known[number] for _, number in order if number in known][: limit + 1]
    if len(rows) <= limit:
        rows += await session.fetch(
            f"SELECT {_SAID} FROM touchpoints t WHERE touchpoint_id > $1 AND NOT touchpoint_id = ANY($2) "
            "AND merged_into IS NULL AND ($4::boolean IS NULL OR discovered = $4) ORDER BY touchpoint_id LIMIT $3",
            after[1] if after is not None and after[0] == 0 else FIRST,
            [number for number, count in counts.items() if count > 0],
            limit + 1 - len(rows),
            discovered,
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
    """The touchpoint of this slug, whatever it counts as. Relies on its unique key."""
    row = await session.fetchrow(f"SELECT {_SAID} FROM touchpoints t WHERE slug = $1", slug)
    if row is None:
        raise NotFound("No touchpoint has this slug.")
    return row


async def counted_as(session: ReadSession, slug: str) -> Record:
    """The touchpoint that the one of this slug counts as: itself, unless it was merged. Relies on the unique key."""
    row = await session.fetchrow(
        f"SELECT {_SAID} FROM touchpoints one JOIN touchpoints t "
        "ON t.touchpoint_id = coalesce(one.merged_into, one.touchpoint_id) WHERE one.slug = $1",
        slug,
    )
    if row is None:
        raise NotFound("No touchpoint has this slug.")
    return row


async def changes(session: ReadSession, touchpoint_id: int) -> list[Change]:
    """The latest merges and partings of those that count as this touchpoint, and of others with them; newest first.

    Relies on the index on `merged_into`, and on those on `touchpoint_id` and `into_id` of the changes.
    """
    group = "ARRAY(SELECT $1::int UNION ALL SELECT touchpoint_id FROM touchpoints WHERE merged_into = $1)"
    rows = await session.fetch(
        "SELECT of.slug, i.slug AS into, c.what, c.at, c.by, c.reason FROM touchpoint_changes c "
        "JOIN touchpoints of ON of.touchpoint_id = c.touchpoint_id JOIN touchpoints i ON i.touchpoint_id = c.into_id "
        f"WHERE c.touchpoint_id = ANY({group}) OR c.into_id = ANY({group}) ORDER BY c.change_id DESC LIMIT $2",
        touchpoint_id,
        _CHANGES,
    )
    return [Change(*row) for row in rows]


async def groups(session: ReadSession) -> dict[int, int]:
    """Of touchpoints that count as another: what each counts as. Those that count as themselves are not in it.

    Relies on the partial index on `merged_into`, which holds merged touchpoints only.
    """
    rows = await session.fetch("SELECT touchpoint_id, merged_into FROM touchpoints WHERE merged_into IS NOT NULL")
    return {row["touchpoint_id"]: row["merged_into"] for row in rows}


async def ids_of(session: ReadSession, slug: str) -> list[int]:
    """All ids that count as the touchpoint of this slug, the one that they count as first; NotFound where none has it.

    Relies on the unique key and on the index on `merged_into`.
    """
    rows = await session.fetch(TOUCHPOINTS.format("$1"), [slug])
    if not rows:
        raise NotFound("No touchpoint has this slug.")
    return [row["touchpoint_id"] for row in rows]


async def interactions(session: ReadSession, touchpoint_ids: list[int], filters: Filters) -> Page[Found]:
    """One keyset page of what happened at touchpoints that count as one.

    Relies on the index on `(touchpoint_id, id)`: one range of it for each id, and of each no more than a page.
    """
    low, high = filters.bounds()
    arguments: list[Any] = [touchpoint_ids, low, high, filters.limit + 1]
    rows = await session.fetch(
        f"SELECT i.* FROM unnest($1::int[]) AS of CROSS JOIN LATERAL (SELECT {COLUMNS} FROM interactions "
        f"WHERE touchpoint_id = of AND id >= $2 AND id < $3{filters.where(arguments)} "
        f"ORDER BY id {filters.order} LIMIT $4) AS i ORDER BY i.id {filters.order} LIMIT $4",
        *arguments,
    )
    items = [Found(*row) for row in rows]
    if len(items) <= filters.limit:
        return Page(items, None)
    return Page(items[:-1], cursor.encode(items[-2].interaction_id.bytes, list_=f"touchpoint-{filters.order}"))
