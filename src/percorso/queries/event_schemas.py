"""Schemas of interactions: those in force, their versions, what came of checking by them."""

from collections.abc import Collection, Sequence
from typing import Final

from asyncpg import Record
from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.errors import NotFound
from percorso.queries import cursor
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession, reading
from percorso.storage.event_schemas import InForce, Version

MOST_FAULTS: Final = 100
"""Places in a schema that are told of, those where most interactions failed."""

_COLUMNS: Final = (
    "s.channel, s.kind, s.version, s.mode, s.changed_at, s.changed_by, v.schema::text AS schema, v.created_at, "
    "v.created_by"
)
_IN_FORCE: Final = "event_schemas s JOIN event_schema_versions v USING (channel, kind, version)"
_LIST: Final = "schemas"
_POSITION: Final = 128
"""Bytes of a position: a channel, a slash and a kind, which have fewer characters, each of one byte."""


async def load(engine: AsyncEngine, known: Collection[Version]) -> Sequence[InForce]:
    """All that is in force; the text of those that are known is left out. Relies on the primary keys."""
    async with reading(engine) as session:
        rows = await session.fetch(
            "SELECT s.channel, s.kind, s.version, s.mode, v.schema::text AS schema FROM event_schemas s "
            "LEFT JOIN unnest($1::text[], $2::text[], $3::integer[]) AS known(channel, kind, version) "
            "USING (channel, kind, version) LEFT JOIN event_schema_versions v ON known.channel IS NULL "
            "AND v.channel = s.channel AND v.kind = s.kind AND v.version = s.version",
            [version.channel for version in known],
            [version.kind for version in known],
            [version.number for version in known],
        )
    return [InForce(Version(row["channel"], row["kind"], row["version"]), row["mode"], row["schema"]) for row in rows]


async def page(session: ReadSession, *, limit: int, after: str | None) -> Page[Record]:
    """One keyset page of those in force, by channel and kind. Relies on the primary keys."""
    channel, kind = ("", "") if after is None else _position(after)
    rows = await session.fetch(
        f"SELECT {_COLUMNS} FROM {_IN_FORCE} WHERE (s.channel, s.kind) > ($1, $2) ORDER BY s.channel, s.kind LIMIT $3",
        channel,
        kind,
        limit + 1,
    )
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[-2]
    following = cursor.encode_name(f"{last['channel']}/{last['kind']}", list_=_LIST, size=_POSITION)
    return Page(rows[:-1], following)


def _position(given: str) -> tuple[str, str]:
    channel, _, kind = cursor.decode_name(given, list_=_LIST, size=_POSITION).partition("/")
    return channel, kind


async def in_force(session: ReadSession, channel: str, kind: str) -> Record:
    """The schema in force. Relies on the primary keys. Raises NotFound where there is none."""
    row = await session.fetchrow(
        f"SELECT {_COLUMNS} FROM {_IN_FORCE} WHERE s.channel = $1 AND s.kind = $2", channel, kind
    )
    if row is None:
        raise NotFound("No schema is in force for this channel and kind.")
    return row


async def kinds(session: ReadSession, channel: str) -> list[str]:
    """The kinds of a channel that have a schema in force, `*` among them. Relies on the primary key."""
    rows = await session.fetch("SELECT kind FROM event_schemas WHERE channel = $1", channel)
    return [row["kind"] for row in rows]


async def versions(session: ReadSession, channel: str, kind: str, *, limit: int, before: int | None) -> Page[Record]:
    """A keyset page of every version there ever was, newest first, without their text. Relies on the primary key."""
    rows = await session.fetch(
        "SELECT channel, kind, version, created_at, created_by FROM event_schema_versions "
        "WHERE channel = $1 AND kind = $2 AND version < $3 ORDER BY version DESC LIMIT $4",
        channel,
        kind,
        2**31 - 1 if before is None else before,
        limit + 1,
    )
    if not rows and before is None:
        raise NotFound("There never was a schema of this channel and kind.")
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:-1], cursor.encode(rows[-2]["version"].to_bytes(4), list_="schema-versions"))


def version_before(given: str) -> int:
    """The version before which the page begins that a cursor of versions leads to."""
    return int.from_bytes(cursor.decode(given, list_="schema-versions", size=4))


async def version(session: ReadSession, channel: str, kind: str, number: int) -> Record:
    """One version. Relies on the primary key. Raises NotFound where there is none."""
    row = await session.fetchrow(
        "SELECT channel, kind, version, schema::text AS schema, created_at, created_by FROM event_schema_versions "
        "WHERE channel = $1 AND kind = $2 AND version = $3",
        channel,
        kind,
        number,
    )
    if row is None:
        raise NotFound("The schema of this channel and kind has no such version.")
    return row


async def tally(session: ReadSession, channel: str, kind: str, number: int) -> Record | None:
    """What came of checking by a version; None before anything was counted. Relies on the primary key."""
    return await session.fetchrow(
        "SELECT checked, reported, refused, since, last_at FROM event_schema_tallies "
        "WHERE channel = $1 AND kind = $2 AND version = $3",
        channel,
        kind,
        number,
    )


async def faults(session: ReadSession, channel: str, kind: str, number: int) -> list[Record]:
    """Where most interactions failed to fit a version, worst first. Relies on the primary key."""
    return await session.fetch(
        "SELECT place, detail, interactions, first_at, last_at FROM event_schema_faults "
        "WHERE channel = $1 AND kind = $2 AND version = $3 ORDER BY interactions DESC, place LIMIT $4",
        channel,
        kind,
        number,
        MOST_FAULTS,
    )
