"""The words that rollups and steps name by number."""

from collections.abc import Collection

from percorso.storage.database import ReadSession


async def ids(session: ReadSession, words: Collection[str]) -> dict[str, int]:
    """The ids of those of these words that have one. Relies on their unique key."""
    rows = await session.fetch("SELECT word, word_id FROM words WHERE word = ANY($1)", list(words))
    return {row["word"]: row["word_id"] for row in rows}


async def texts(session: ReadSession, word_ids: Collection[int]) -> dict[int, str]:
    """The words of these ids. Relies on the primary key."""
    rows = await session.fetch("SELECT word_id, word FROM words WHERE word_id = ANY($1)", list(word_ids))
    return {row["word_id"]: row["word"] for row in rows}
