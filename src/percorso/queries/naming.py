"""What the keys of cells are called in answers."""

from collections.abc import Collection
from typing import Final

from percorso.analytics.dimensions import WORDED, Dimension
from percorso.analytics.steps import CHANNEL_CODES, FUNCTION_CODES
from percorso.queries import words
from percorso.storage.database import ReadSession

_CODES: Final[dict[Dimension, dict[int, str]]] = {
    Dimension.CHANNEL: {code: str(channel) for channel, code in CHANNEL_CODES.items()},
    Dimension.FUNCTION: {code: str(function) for function, code in FUNCTION_CODES.items()},
}


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
