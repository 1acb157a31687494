"""The history of what was said of a customer: newest first, over all its identities, page by page."""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

_POSITION: Final = struct.Struct(">qq16s16s")
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _TICK
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _TICK
_ORDER: Final = "occurred_at DESC, received_at DESC, digest DESC, identity_id DESC"


async def page(
    session: ReadSession,
    table: Literal["traits", "consents"],
    columns: str,
    identity_ids: Sequence[UUID],
    *,
    only: Mapping[str, str | None],
    limit: int,
    after: str | None,
) -> Page[Record]:
    """One keyset page of `columns`, `identity_id` among them, and of `digest`.

    `only` are columns and the value that each must have, None where any will do.

    Relies on the primary key `(identity_id, occurred_at, digest)` of the table, one range per identity.
    """
    list_ = f"{table}-history"
    arguments: list[Any] = [identity_ids, limit + 1]
    conditions = ""
    for name, value in only.items():
        if value is not None:
            arguments.append(value)
            conditions += f" AND {name} = ${len(arguments)}"
    if after is not None:
        arguments += _position(after, list_)
        places = ", ".join(f"${number}" for number in range(len(arguments) - 3, len(arguments) + 1))
        conditions += f" AND (occurred_at, received_at, digest, identity_id) < ({places})"
    rows = await session.fetch(
        "SELECT said.* FROM unnest($1::uuid[]) AS of(identity_id) CROSS JOIN LATERAL ("
        f"SELECT {columns}, digest FROM {table} WHERE identity_id = of.identity_id{conditions} "
        f"ORDER BY {_ORDER} LIMIT $2) AS said ORDER BY {_ORDER} LIMIT $2",
        *arguments,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[-2]
    moments = ((last[name] - _EPOCH) // _TICK for name in ("occurred_at", "received_at"))
    position = _POSITION.pack(*moments, last["digest"].bytes, last["identity_id"].bytes)
    return Page(rows[:-1], cursor.encode(position, list_=list_))


def _position(given: str, list_: str) -> tuple[datetime, datetime, UUID, UUID]:
    """Where the page begins that a cursor leads to."""
    occurred, received, digest, identity = _POSITION.unpack(cursor.decode(given, list_=list_, size=_POSITION.size))
    return _moment(occurred), _moment(received), UUID(digest), UUID(identity)


def _moment(ticks: int) -> datetime:
    """The moment so many microseconds after 2000, or the nearest that can be expressed."""
    return _EPOCH + min(max(ticks, _FIRST), _LAST) * _TICK
