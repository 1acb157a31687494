"""Single interactions, their revisions, and the filters that every list of interactions takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from asyncpg.pgproto.pgproto import UUID
from sqlalchemy import RowMapping, text

from percorso import ids
from percorso.errors import UnknownInteraction
from percorso.storage.database import ReadSession


@dataclass(frozen=True, slots=True)
class Found:
    """A stored interaction; `document` is the JSON that the sender gave, enriched since where `revision` is not 0."""

    interaction_id: UUID
    identity_id: UUID
    received_at: datetime
    document: str
    revision: int


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

    def where(self) -> tuple[str, dict[str, Any]]:
        """The conditions on columns, as SQL that begins with AND, with its parameters."""
        conditions = {
            "channel": "channel = ANY(:channel)",
            "exclude_channel": "channel <> ALL(:exclude_channel)",
            "touchpoint": "touchpoint_id = ANY(ARRAY("
            "SELECT touchpoint_id FROM touchpoints WHERE slug = ANY(:touchpoint)))",
            "kind": "kind = ANY(:kind)",
            "function": "function = ANY(:function)",
            "direction": "direction = ANY(:direction)",
        }
        wanted = {name: list(getattr(self, name)) for name in conditions if getattr(self, name)}
        return "".join(f" AND {conditions[name]}" for name in wanted), wanted


COLUMNS = "identity_id, id, received_at, document::text AS document, revision"


def found(row: RowMapping) -> Found:
    """A row of COLUMNS."""
    return Found(row["id"], row["identity_id"], row["received_at"], row["document"], row["revision"])


async def by_id(session: ReadSession, interaction_id: UUID) -> Found:
    """The interaction of this id. Relies on the primary key: the id's prefix bits bound the identity."""
    low, high = ids.identity_range(interaction_id.bytes)
    result = await session.execute(
        text(f"SELECT {COLUMNS} FROM interactions WHERE id = :id AND identity_id BETWEEN :low AND :high"),
        {"id": interaction_id, "low": low, "high": high},
    )
    row = result.mappings().one_or_none()
    if row is None:
        raise UnknownInteraction("No interaction has this id.")
    return found(row)


async def by_key(session: ReadSession, key: UUID) -> Found | None:
    """The interaction that a sender's (source, id) stands for. Relies on both primary keys."""
    result = await session.execute(
        text("SELECT identity_id, interaction_id FROM interaction_keys WHERE key = :key"), {"key": key}
    )
    named = result.mappings().one_or_none()
    if named is None:
        return None
    result = await session.execute(
        text(f"SELECT {COLUMNS} FROM interactions WHERE identity_id = :identity_id AND id = :interaction_id"),
        dict(named),
    )
    row = result.mappings().one_or_none()
    return None if row is None else found(row)


async def revisions(session: ReadSession, interaction_id: UUID) -> list[Revision]:
    """All that an interaction said, oldest first, what it says now last. Relies on the primary keys."""
    now = await by_id(session, interaction_id)
    result = await session.execute(
        text(
            "SELECT revision, document::text, replaced_at, replaced_by FROM interaction_revisions "
            "WHERE identity_id = :identity_id AND interaction_id = :interaction_id ORDER BY revision"
        ),
        {"identity_id": now.identity_id, "interaction_id": interaction_id},
    )
    return [Revision(**row) for row in result.mappings()] + [Revision(now.revision, now.document, None, None)]
