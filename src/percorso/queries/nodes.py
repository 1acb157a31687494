"""Nodes of journeys by their names: touchpoints by slug, kinds and channels by their words."""

from collections.abc import Collection
from typing import Final

from percorso.analytics.journeys import By
from percorso.analytics.steps import CHANNEL_CODES
from percorso.queries import words
from percorso.storage.database import ReadSession

OTHER: Final = "(other)"
"""All nodes that are not told apart."""
NONE: Final = "(none)"
"""Interactions without a kind. No slug and no word begins with a bracket."""

_CHANNELS: Final = {code: channel for channel, code in CHANNEL_CODES.items()}


async def ids(session: ReadSession, by: By, names: Collection[str]) -> dict[str, int]:
    """The ids of those of these names that are known. Relies on the unique keys of slugs and words."""
    if by == "channel":
        return {name: code for name, code in CHANNEL_CODES.items() if name in names}
    if by == "kind":
        return await words.ids(session, names)
    rows = await session.fetch("SELECT slug, touchpoint_id FROM touchpoints WHERE slug = ANY($1)", list(names))
    return {row["slug"]: row["touchpoint_id"] for row in rows}


async def names(session: ReadSession, by: By, of: Collection[int]) -> dict[int, str]:
    """The names of these ids; `OTHER` of -1. Relies on the primary keys of touchpoints and words."""
    beside = {-1: OTHER, 0: NONE}
    if by == "channel":
        return _CHANNELS | beside
    if by == "kind":
        return await words.texts(session, of) | beside
    rows = await session.fetch("SELECT touchpoint_id, slug FROM touchpoints WHERE touchpoint_id = ANY($1)", list(of))
    return {row["touchpoint_id"]: row["slug"] for row in rows} | beside
