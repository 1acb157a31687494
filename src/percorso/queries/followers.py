"""How far a follower of the commit log has come, and what it has to take next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from asyncpg.pgproto.pgproto import UUID

from percorso.storage.database import ReadSession

_AT_ONCE: Final = 100
"""More transactions than are open at the same time."""


class Follower(NamedTuple):
    """A cursor in the commit log; `filled_to` is how far the first pass over all identities is, None: complete."""

    generation: int
    xid8: int
    filled_to: UUID | None


class Commit(NamedTuple):
    """A row of the commit log, as far as it names whom it was about."""

    generation: int
    xid8: int
    identity_ids: Sequence[UUID]
    interaction_ids: Sequence[UUID]


async def by_name(session: ReadSession, name: str) -> Follower | None:
    """The follower of this name; None: it has not begun. Relies on the primary key."""
    row = await session.fetchrow("SELECT generation, xid8, filled_to FROM followers WHERE name = $1", name)
    return None if row is None else Follower(*row)


async def next_commits(
    session: ReadSession, after: Follower, *, limit: int, but_for: Sequence[str] = ()
) -> list[Commit]:
    """The next rows of the commit log, at least `limit` of them where there are as many.

    Only those that no transaction that is still open can come before: a transaction id is given when a transaction
    first writes, and it may be committed after a later one. An earlier generation was written on another cluster, whose
    transactions have all ended. Rows of one transaction come together, so that a cursor never stands among them.
    Those that say `but_for` in `what` come too, so that a cursor gets past them, and name nothing.

    Relies on the primary key `(generation, xid8, at)` of each partition.
    """
    rows = await session.fetch(
        "SELECT generation, xid8, CASE WHEN what = ANY($4) THEN '{}' ELSE identity_ids END, "
        "CASE WHEN what = ANY($4) THEN '{}' ELSE interaction_ids END FROM commits WHERE (generation, xid8) > ($1, $2) "
        "AND (xid8 < pg_snapshot_xmin(pg_current_snapshot()) OR generation < (SELECT generation FROM deployment)) "
        "ORDER BY generation, xid8 FETCH FIRST $3 ROWS WITH TIES",
        after.generation,
        after.xid8,
        limit,
        list(but_for),
    )
    return [Commit(*row) for row in rows]


async def as_of(session: ReadSession, name: str) -> datetime | None:
    """The moment up to which a follower has taken all that was committed; None: its first pass is not complete."""
    return (await as_of_each(session, name)).get(name)


async def as_of_each(session: ReadSession, *names: str) -> dict[str, datetime]:
    """The moment up to which each of these has taken all that was committed, of those whose first pass is complete.

    Where it has taken everything that is now, otherwise the earliest of the next commits: those at the same time need
    not be in order of time. Relies on the primary keys of followers and, in each partition, of commits.
    """
    rows = await session.fetch(
        "SELECT f.name, coalesce((SELECT min(at) FROM ("
        "SELECT at FROM commits WHERE (generation, xid8) > (f.generation, f.xid8) "
        "ORDER BY generation, xid8 LIMIT $2) AS next), now()) AS moment "
        "FROM followers f WHERE f.name = ANY($1) AND f.filled_to IS NULL",
        names,
        _AT_ONCE,
    )
    return {row["name"]: row["moment"] for row in rows}
