"""Customers, found by what is said of them: by their profiles, or by the beginning of an identifier.

Every search is planned for its very values: which of the indexes serves it best depends on how many customers they fit.
"""

import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession

Order = Literal["asc", "desc", "id"]
"""By last contact, or by customer id: an order in which no one moves while the pages are read."""

IDENTIFIERS_SHOWN: Final = 20
FOLLOWER: Final = "profiles"
"""The follower of the commit log that keeps the profiles."""

_COLUMNS: Final = (
    "p.computed_at, p.first_at, nullif(p.last_at, '-infinity') AS last_at, p.interactions, p.channels, p.relationship, "
    "p.score, p.open_complaints, p.purchases, p.last_purchase_at, p.spent, p.currency, p.overdue, p.recency_score, "
    "p.frequency_score, p.monetary_score, p.rfm, p.traits::text AS traits"
)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search of customers is narrowed to; None, or an empty sequence, does not narrow.

    `identifier` is a kind and the beginning of a normalised value; `traits` are labels of profiles, all of which they
    must have. Contact is meant from `last_contact_from` on and before `last_contact_to`.
    """

    identifier: tuple[str, str] | None = None
    traits: Sequence[str] = ()
    last_contact_from: datetime | None = None
    last_contact_to: datetime | None = None
    channel: Sequence[str] = ()
    relationship: Sequence[str] = ()
    rfm: Sequence[str] = ()
    open_complaints: bool | None = None

    def where(self, arguments: list[Any]) -> list[str]:
        """The conditions on profiles `p`, as SQL; what they compare with is added to `arguments`."""
        conditions = []
        for name, condition in _CONDITIONS.items():
            if wanted := getattr(self, name):
                arguments.append(wanted)
                conditions.append(condition.format(f"${len(arguments)}"))
        if self.open_complaints is not None:
            conditions.append(f"p.open_complaints {'>' if self.open_complaints else '='} 0")
        return conditions


_CONDITIONS: Final = {
    "traits": "p.labels @> {}",
    "last_contact_from": "p.last_at >= {}",
    "last_contact_to": "p.last_at < {} AND p.last_at > '-infinity'",
    "channel": "p.channels && {}",
    "relationship": "p.relationship = ANY({})",
    "rfm": "p.rfm = ANY({})",
}


class Found(NamedTuple):
    """A customer that was found: its identifiers, and its profile where it has one."""

    customer_id: UUID
    identifiers: Sequence[Record]
    profile: Record | None


async def page(
    session: ReadSession, filters: Sequence[Filters], *, order: Order, limit: int, after: str | None
) -> Page[Found]:
    """One keyset page of the customers that all filters fit; `after` is the cursor of the page before.

    With an identifier they come in the order of its values, those without a profile too. Else in the order asked for.

    Relies on `identities_kind_value_idx`, or on the index of customer_profiles that serves the filters best: each
    filter has one. The identifiers shown rely on `identities_customer_id_idx`.
    """
    async with _planned_anew(session):
        if any(each.identifier for each in filters):
            found = await _by_identifier(session, filters, limit, after)
        else:
            found = await _by_profile(session, filters, order, limit, after)
        named = await _identifiers(session, [row["customer_id"] for row in found.items])
    items = [
        Found(row["customer_id"], named.get(row["customer_id"], ()), None if row["computed_at"] is None else row)
        for row in found.items
    ]
    return Page(items, found.next_cursor)


async def fits(session: ReadSession, filters: Filters, customer_id: UUID) -> bool:
    """Whether the filters fit this customer. Relies on the primary key and on `identities_customer_id_idx`."""
    arguments: list[Any] = [customer_id]
    conditions = [*_identified((filters,), arguments, "$1"), *filters.where(arguments)]
    return bool(
        await session.fetchval(
            f"SELECT {' AND '.join(conditions) or 'true'} FROM (SELECT) AS of "
            "LEFT JOIN customer_profiles p ON p.customer_id = $1",
            *arguments,
        )
    )


@asynccontextmanager
async def _planned_anew(session: ReadSession) -> AsyncIterator[None]:
    async with session.transaction(readonly=True):
        await session.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield


def _beginning(prefix: str) -> tuple[str, str | None]:
    """The range, in order of bytes, of what begins so: the first, and what comes after the last; None: nothing does."""
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1]) + 1
        if code <= _LAST_CHARACTER:
            return prefix, prefix[: end - 1] + chr(_AFTER_SURROGATES if code in _SURROGATES else code)
    return prefix, None


_LAST_CHARACTER: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_AFTER_SURROGATES: Final = 0xE000


def _begins(alias: str, identifier: tuple[str, str], arguments: list[Any]) -> str:
    """SQL: that an identity has this kind, and a value that begins so. The operators are those of its index."""
    kind, prefix = identifier
    first, end = _beginning(prefix)
    arguments += [kind, first]
    sql = f"{alias}.kind = ${len(arguments) - 1} AND {alias}.value ~>=~ ${len(arguments)}"
    if end is not None:
        arguments.append(end)
        sql += f" AND {alias}.value ~<~ ${len(arguments)}"
    return sql


def _identified(filters: Iterable[Filters], arguments: list[Any], customer: str) -> list[str]:
    """SQL: that the customer has each of these identifiers."""
    return [
        f"EXISTS (SELECT FROM identities m WHERE m.customer_id = {customer} "
        f"AND {_begins('m', each.identifier, arguments)})"
        for each in filters
        if each.identifier
    ]


async def _by_identifier(
    session: ReadSession, filters: Sequence[Filters], limit: int, after: str | None
) -> Page[Record]:
    """In order of the first filter's identifier; a customer who has several that fit comes with the first of them."""
    first, *others = sorted(filters, key=lambda each: each.identifier is None)
    assert first.identifier is not None  # noqa: S101 - the caller looked
    arguments: list[Any] = [limit + 1]
    conditions = [_begins("i", first.identifier, arguments)]
    conditions.append(
        "NOT EXISTS (SELECT FROM identities e WHERE e.customer_id = i.customer_id "
        f"AND {_begins('e', first.identifier, arguments)} AND e.value ~<~ i.value)"
    )
    if after is not None:
        arguments.append(await _value_at(session, after))
        conditions.append(f"i.value ~>~ ${len(arguments)}")
    conditions += _identified(others, arguments, "i.customer_id")
    for each in filters:
        conditions += each.where(arguments)
    rows = await session.fetch(
        f"SELECT i.identity_id, i.customer_id, {_COLUMNS} FROM identities i "
        "LEFT JOIN customer_profiles p ON p.customer_id = i.customer_id "
        f"WHERE {' AND '.join(conditions)} ORDER BY i.value USING ~<~ LIMIT $1",
        *arguments,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["identity_id"].bytes, list_=_BY_IDENTIFIER))


_BY_IDENTIFIER: Final = "customers-identifier"


async def _value_at(session: ReadSession, after: str) -> str:
    """The identifier at which a page ended. The cursor names its identity and not its value, which is personal."""
    identity = UUID(cursor.decode(after, list_=_BY_IDENTIFIER, size=16))
    value: str | None = await session.fetchval("SELECT value FROM identities WHERE identity_id = $1", identity)
    if value is None:
        raise cursor.unfit("leads to an identifier that was erased: begin again without it.")
    return value


async def _by_profile(
    session: ReadSession, filters: Sequence[Filters], order: Order, limit: int, after: str | None
) -> Page[Record]:
    arguments: list[Any] = [limit + 1]
    conditions = [condition for each in filters for condition in each.where(arguments)]
    columns = ("p.customer_id",) if order == "id" else ("p.last_at", "p.customer_id")
    way = "DESC" if order == "desc" else "ASC"
    if after is not None:
        arguments += _position(after, order)
        places = (f"${number}" for number in range(len(arguments) - len(columns) + 1, len(arguments) + 1))
        conditions.append(f"({', '.join(columns)}) {'<' if order == 'desc' else '>'} ({', '.join(places)})")
    rows = await session.fetch(
        f"SELECT p.customer_id, {_COLUMNS} FROM customer_profiles p "
        f"{'WHERE ' if conditions else ''}{' AND '.join(conditions)} "
        f"ORDER BY {', '.join(f'{column} {way}' for column in columns)} LIMIT $1",
        *arguments,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[-2]
    position = b"" if order == "id" else _time.pack(_microseconds(last["last_at"]))
    return Page(rows[:-1], cursor.encode(position + last["customer_id"].bytes, list_=f"customers-{order}"))


_time: Final = struct.Struct(">q")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NEVER: Final = -(1 << 63)
"""The position of those with whom there was no contact: they come before the earliest."""


def _microseconds(moment: datetime | None) -> int:
    return _NEVER if moment is None else (moment - _EPOCH) // _MICROSECOND


def _position(after: str, order: Order) -> list[Any]:
    """The last contact and the customer id that a page ended with; in order of id the latter only."""
    size = 16 if order == "id" else _time.size + 16
    position = cursor.decode(after, list_=f"customers-{order}", size=size)
    customer_id = UUID(position[-16:])
    if order == "id":
        return [customer_id]
    [microseconds] = _time.unpack(position[: _time.size])
    try:
        # Postgres's -infinity, as asyncpg has it.
        moment = datetime.min if microseconds == _NEVER else _EPOCH + timedelta(microseconds=microseconds)  # noqa: DTZ901
    except OverflowError:
        raise cursor.unfit() from None
    return [moment, customer_id]


async def _identifiers(session: ReadSession, customer_ids: Sequence[UUID]) -> dict[UUID, list[Record]]:
    """The identifiers of each of these customers, strong ones and older ones first; of one at most so many."""
    rows = await session.fetch(
        "SELECT of.customer_id, m.kind, m.value, m.strong, m.first_seen_at FROM unnest($1::uuid[]) AS of(customer_id) "
        "CROSS JOIN LATERAL (SELECT kind, value, strong, first_seen_at FROM identities "
        "WHERE customer_id = of.customer_id ORDER BY strong DESC, first_seen_at, identity_id LIMIT $2) AS m",
        customer_ids,
        IDENTIFIERS_SHOWN,
    )
    named: dict[UUID, list[Record]] = {}
    for row in rows:
        named.setdefault(row["customer_id"], []).append(row)
    return named
