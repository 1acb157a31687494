"""Traits: what is said of a customer now, and what was said before."""

from collections.abc import Sequence
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from percorso.queries import history
from percorso.queries.cursor import Page
from percorso.storage.database import ReadSession
from percorso.storage.traits import Trait

_NAMES: Final = ", ".join(Trait._fields)
_COLUMNS: Final = _NAMES.replace("value", "value::text AS value")
_LATEST: Final = "name DESC, occurred_at DESC, received_at DESC LIMIT 1"


async def current(session: ReadSession, identity_ids: Sequence[UUID]) -> list[Trait]:
    """What holds of the customer of these identities, by name: of each trait what occurred last.

    Of two that occurred at the same moment it is what was received last. Relies on
    `traits_identity_id_name_occurred_at_received_at_idx`, of which it reads one entry a name and identity, however
    long the history is.
    """
    rows = await session.fetch(
        "WITH RECURSIVE latest AS ("
        "SELECT said.* FROM unnest($1::uuid[]) AS of(identity_id) CROSS JOIN LATERAL ("
        f"SELECT {_COLUMNS} FROM traits WHERE identity_id = of.identity_id ORDER BY {_LATEST}) AS said "
        "UNION ALL SELECT said.* FROM latest CROSS JOIN LATERAL ("
        f"SELECT {_COLUMNS} FROM traits WHERE identity_id = latest.identity_id AND name < latest.name "
        f"ORDER BY {_LATEST}) AS said) "
        f"SELECT DISTINCT ON (name) {_NAMES} FROM latest "
        "ORDER BY name, occurred_at DESC, received_at DESC, source, identity_id",
        identity_ids,
    )
    return [Trait(*row) for row in rows if row["value"] is not None]


async def page(
    session: ReadSession, identity_ids: Sequence[UUID], *, name: str | None, limit: int, after: str | None
) -> Page[Trait]:
    """One keyset page of all that was ever said of the customer of these identities, or of one trait; newest first."""
    found = await history.page(session, "traits", _COLUMNS, identity_ids, only={"name": name}, limit=limit, after=after)
    return Page([Trait(*row[:-1]) for row in found.items], found.next_cursor)
