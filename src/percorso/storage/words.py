"""The words that rollups and steps name by number."""

from collections.abc import Collection

from percorso.storage.database import WriteSession


async def register(session: WriteSession, words: Collection[str]) -> dict[str, int]:
    """The ids of these words; new ones are given one. Relies on their unique key.

    What others gave one meanwhile is found, so it is a transaction of its own at read committed.
    """
    ordered = sorted(words)
    # Most are known, and a conflict would use up a number.
    await session.execute(
        "INSERT INTO words (word) SELECT t.word FROM unnest($1::text[]) AS t(word) "
        "WHERE NOT EXISTS (SELECT FROM words known WHERE known.word = t.word) ON CONFLICT DO NOTHING",
        ordered,
    )
    known = await session.fetch("SELECT word, word_id FROM words WHERE word = ANY($1)", ordered)
    return {row["word"]: row["word_id"] for row in known}
