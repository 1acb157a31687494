"""What the keys of cells are called in answers."""

from collections.abc import Collection, Mapping
from typing import Final

from percorso.analytics.dimensions import WORDED, Dimension
from percorso.analytics.steps import CHANNEL_CODES, FUNCTION_CODES
from percorso.queries import touchpoints, words
from percorso.storage.database import ReadSession

_CODES: Final[dict[Dimension, dict[int, str]]] = {
    Dimension.CHANNEL: {code: str(channel) for channel, code in CHANNEL_CODES.items()},
    Dimension.FUNCTION: {code: str(function) for function, code in FUNCTION_CODES.items()},
}


async def groups(session: ReadSession, dimension: Dimension) -> dict[int, int]:
    """Which keys count as another: touchpoints that were merged."""
    return await touchpoints.groups(session) if dimension == Dimension.TOUCHPOINT else {}


def members(groups: Mapping[int, int], keys: Collection[int]) -> list[int]:
    """These keys, and those that count as one of them."""
    return [*keys, *(key for key, counts_as in groups.items() if counts_as in keys)]


async def names(session: ReadSession, dimension: Dimension, keys: Collection[int]) -> dict[int, str]:
    """The names of those of these keys that have one: slugs of touchpoints, channels, functions, or words.

    Relies on the primary keys of touchpoints and of words.
    """
    if dimension == Dimension.TOUCHPOINT:
        rows = await session.fetch(
            "SELECT touchpoint_id, slug FROM touchpoints WHERE touchpoint_id = ANY($1)", list(keys)
        )
        return {row["touchpoint_id"]: row["slug"] for row in rows}
    if dimension in WORDED:
        return await words.texts(session, keys)
    return {key: name for key, name in _CODES[dimension].items() if key in keys}
