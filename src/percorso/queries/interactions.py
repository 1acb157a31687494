"""Single interactions, their revisions, and the filters that every list of interactions takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.errors import UnknownInteraction
from percorso.storage.database import ReadSession


class Found(NamedTuple):
    """A stored interaction; `document` is the JSON that the sender gave, enriched since where `revision` is not 0.

    `traceparent` is that of the request that it came in, where that named one.

    A named tuple, made of a row of COLUMNS: fifty a page, and it costs a third of a dataclass.
    """

    interaction_id: UUID
    identity_id: UUID
    received_at: datetime
    document: str
    revision: int
    traceparent: str | None


COLUMNS = "id, identity_id, received_at, document::text AS document, revision, traceparent"


@dataclass(frozen=True, slots=True)
class Revision:
    """What an interaction said until `replaced_at`; None for what it says now."""

    revision: int
    document: str
    replaced_at: datetime | None
    replaced_by: str | None


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of interactions is narrowed to; an empty sequence does not narrow."""

    since: datetime | None = None
    until: datetime | None = None
    channel: Sequence[str] = ()
    exclude_channel: Sequence[str] = ()
    touchpoint: Sequence[str] = ()
    kind: Sequence[str] = ()
    function: Sequence[str] = ()
    direction: Sequence[str] = ()
    order: Literal["asc", "desc"] = "desc"
    limit: int = 50
    after: UUID | None = None

    def bounds(self) -> tuple[UUID, UUID]:
        """The ids wanted: from the first, inclusive, to the second, exclusive."""
        low = ids.LOWEST if self.since is None else ids.first_id_at(self.since)
        high = ids.HIGHEST if self.until is None else ids.first_id_at(self.until)
        if self.after is None:
            return low, high
        if self.order == "desc":
            return low, min(high, self.after)
        return max(low, ids.successor(self.after)), high

    def where(self, arguments: list[Any]) -> str:
        """The conditions on columns, as SQL that begins with AND; what they compare with is added to `arguments`."""
        sql = ""
        for name, condition in _CONDITIONS.items():
            if wanted := getattr(self, name):
                arguments.append(list(wanted))
                sql += f" AND {condition}".format(f"${len(arguments)}")
        return sql


TOUCHPOINTS: Final = """
    SELECT of.touchpoint_id FROM touchpoints one CROSS JOIN LATERAL (
        SELECT coalesce(one.merged_into, one.touchpoint_id) AS touchpoint_id
        UNION ALL SELECT touchpoint_id FROM touchpoints
        WHERE merged_into = coalesce(one.merged_into, one.touchpoint_id)
    ) AS of WHERE one.slug = ANY({})
"""
"""The ids of all touchpoints that count as one with those of these slugs.

Relies on the unique key of slugs and on the index on `merged_into`.
"""

_CONDITIONS: Final = {
    "channel": "channel = ANY({})",
    "exclude_channel": "channel <> ALL({})",
    "touchpoint": f"touchpoint_id = ANY(ARRAY({TOUCHPOINTS}))",
    "kind": "kind = ANY({})",
    "function": "function = ANY({})",
    "direction": "direction = ANY({})",
}


async def by_id(session: ReadSession, interaction_id: UUID) -> Found:
    """The interaction of this id. Relies on the primary key: the id's prefix bits bound the identity."""
    low, high = ids.identity_range(interaction_id.bytes)
    row = await session.fetchrow(
        f"SELECT {COLUMNS} FROM interactions WHERE id = $1 AND identity_id BETWEEN $2 AND $3", interaction_id, low, high
    )
    if row is None:
        raise UnknownInteraction("No interaction has this id.")
    return Found(*row)


async def by_key(session: ReadSession, key: UUID) -> Found | None:
    """The interaction that a sender's (source, id) stands for. Relies on both primary keys."""
    named = await session.fetchrow("SELECT identity_id, interaction_id FROM interaction_keys WHERE key = $1", key)
    if named is None:
        return None
    row = await session.fetchrow(f"SELECT {COLUMNS} FROM interactions WHERE identity_id = $1 AND id = $2", *named)
    return None if row is None else Found(*row)


async def revisions(session: ReadSession, now: Found) -> list[Revision]:
    """All that an interaction said, oldest first, what it says now last. Relies on the primary key."""
    rows = await session.fetch(
        "SELECT revision, document::text, replaced_at, replaced_by FROM interaction_revisions "
        "WHERE identity_id = $1 AND interaction_id = $2 ORDER BY revision",
        now.identity_id,
        now.interaction_id,
    )
    return [Revision(*row) for row in rows] + [Revision(now.revision, now.document, None, None)]
