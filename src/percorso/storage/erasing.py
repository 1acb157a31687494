"""What an erasure does to the tables, a bounded part at a time; each function goes on where the last call ended."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import WriteSession
from percorso.storage.personal import Place
from percorso.storage.rejected import BETWEEN, MATCHES, Search

_INTERACTIONS: Final = 200
_REJECTED: Final = 500
_ROWS: Final = 1_000


class Document(NamedTuple):
    """What is stored of an interaction, or, with the number of a revision, what it said before."""

    interaction_id: UUID
    document: str
    revision: int | None = None


class Gone(NamedTuple):
    """An interaction that was deleted, and what may be left of it as a count."""

    interaction_id: UUID
    document: str
    received_at: datetime
    touchpoint_id: int
    touchpoint: str
    channel: str
    kind: str | None
    function: str | None
    direction: str


class Anonymous(NamedTuple):
    """An interaction that is nobody's."""

    identity_id: UUID
    interaction_id: UUID
    key: UUID
    received_at: datetime
    touchpoint_id: int
    channel: str
    kind: str | None
    function: str | None
    direction: str
    document: str


async def documents(session: WriteSession, identity_id: UUID, after: UUID) -> list[Document]:
    """Some of what is stored under an identity, in order of id, from after this one. Relies on the primary key."""
    rows = await session.fetch(
        "SELECT id, document::text, revision FROM interactions WHERE identity_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        identity_id,
        after,
        _INTERACTIONS,
    )
    return [Document(*row) for row in rows]


async def held_documents(session: WriteSession, identity_id: UUID, interaction_ids: Sequence[UUID]) -> list[Document]:
    """What these interactions say and said before; they are locked, so that none is enriched meanwhile.

    Relies on the primary keys.
    """
    now = await session.fetch(
        "SELECT id, document::text FROM interactions WHERE identity_id = $1 AND id = ANY($2) ORDER BY id FOR UPDATE",
        identity_id,
        interaction_ids,
    )
    before = await session.fetch(
        "SELECT interaction_id, document::text, revision FROM interaction_revisions "
        "WHERE identity_id = $1 AND interaction_id = ANY($2)",
        identity_id,
        interaction_ids,
    )
    return [Document(*row) for row in (*now, *before)]


async def rewrite(session: WriteSession, identity_id: UUID, documents: Sequence[Document]) -> None:
    """Put other documents in the place of these."""
    await session.executemany(
        "UPDATE interactions SET document = $3::text::json WHERE identity_id = $1 AND id = $2",
        [(identity_id, each.interaction_id, each.document) for each in documents if each.revision is None],
    )
    await session.executemany(
        "UPDATE interaction_revisions SET document = $4::text::json "
        "WHERE identity_id = $1 AND interaction_id = $2 AND revision = $3",
        [
            (identity_id, each.interaction_id, each.revision, each.document)
            for each in documents
            if each.revision is not None
        ],
    )


async def delete_rejected(
    session: WriteSession, identity_ids: Sequence[UUID], search: Search, after: UUID
) -> tuple[UUID | None, int]:
    """Delete, of some refused items from after this one, those that name these identities or match the search.

    Gives the last that was looked at, None where there was none, and how many were deleted. Relies on the primary key:
    all are read.
    """
    row = await session.fetchrow(
        "WITH slice AS (SELECT * FROM rejected_interactions WHERE rejection_id > $3 ORDER BY rejection_id LIMIT $4), "
        "gone AS (DELETE FROM rejected_interactions WHERE rejection_id = ANY(ARRAY(SELECT rejection_id FROM slice "
        f"WHERE identity_ids && $1 OR {MATCHES.format(pattern='$2', needles='$5')})) RETURNING rejection_id) "
        "SELECT (SELECT rejection_id FROM slice ORDER BY rejection_id DESC LIMIT 1), (SELECT count(*) FROM gone)",
        identity_ids,
        search.pattern,
        after,
        _REJECTED,
        search.needles,
    )
    assert row is not None  # noqa: S101 - a query without FROM has one row
    return row[0], row[1]


async def delete_interactions(session: WriteSession, identity_id: UUID) -> list[Gone]:
    """Delete some interactions of an identity; they are given back. Relies on the primary key."""
    rows = await session.fetch(
        "WITH slice AS (SELECT id FROM interactions WHERE identity_id = $1 ORDER BY id LIMIT $2 FOR UPDATE), "
        "g AS (DELETE FROM interactions WHERE identity_id = $1 AND id = ANY(ARRAY(SELECT id FROM slice)) RETURNING *) "
        "SELECT id, document::text, received_at, touchpoint_id, slug, g.channel, kind, g.function, direction "
        "FROM g JOIN touchpoints USING (touchpoint_id)",
        identity_id,
        _INTERACTIONS,
    )
    return [Gone(*row) for row in rows]


async def delete_keys(session: WriteSession, keys: Collection[UUID]) -> int:
    """Delete the keys of interactions that are gone; how many there were. Relies on the primary key."""
    return _count(await session.execute("DELETE FROM interaction_keys WHERE key = ANY($1)", list(keys)))


async def insert_anonymous(session: WriteSession, rows: Sequence[Anonymous]) -> None:
    """Store interactions that are nobody's, with their keys, in the months of those whose place they take."""
    await session.executemany(
        "INSERT INTO interactions "
        "(identity_id, id, received_at, touchpoint_id, channel, kind, function, direction, document) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::json)",
        [(row[0], row[1], *row[3:]) for row in rows],
    )
    await session.executemany(
        "INSERT INTO interaction_keys (identity_id, interaction_id, key) VALUES ($1, $2, $3)", [row[:3] for row in rows]
    )


async def delete_rows(session: WriteSession, place: Place, identity_ids: Sequence[UUID]) -> int:
    """Delete some rows of a place that name these identities; how many, 0 once there are none."""
    named = " OR ".join(f"{column} = ANY($1)" for column in place.columns)
    done = await session.execute(
        f"DELETE FROM {place.table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {place.table} WHERE {named} LIMIT $2))",
        identity_ids,
        _ROWS,
    )
    return _count(done)


async def overwrite_words(session: WriteSession, search: Search, instead: str) -> int:
    """Overwrite the words of rollups that match the search, each with its own; how many. All are read."""
    return _count(
        await session.execute(
            "UPDATE words SET word = $3 || ' ' || word_id FROM (SELECT word_id AS found, "
            "encode(convert_to(word, 'UTF8'), 'escape') AS said FROM words) AS texts WHERE word_id = found "
            f"AND translate(lower(said), '{BETWEEN}', '') LIKE ANY($2) AND said ~* $1",
            search.pattern,
            search.needles,
            instead,
        )
    )


async def end_subscriptions(session: WriteSession, names: Callable[[str], bool]) -> int:
    """Forget the subscriptions whose query `names` someone, with all that they were still to be told; how many.

    Reads all there are: they are few.
    """
    rows = await session.fetch("SELECT subscription_id, query FROM subscriptions WHERE query IS NOT NULL")
    gone = [row["subscription_id"] for row in rows if names(row["query"])]
    if gone:
        await session.execute("DELETE FROM subscriptions WHERE subscription_id = ANY($1)", gone)
        await session.execute("DELETE FROM deliveries WHERE subscription_id = ANY($1)", gone)
    return len(gone)


def _count(status: str) -> int:
    """The rows of a command's status, such as `DELETE 3`."""
    return int(status.rpartition(" ")[2])
