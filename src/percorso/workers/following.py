"""Where a worker that follows the commit log has come to, and how much of the log it takes at once."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.queries import followers, recounting
from percorso.queries.followers import Follower
from percorso.storage import followers as cursors
from percorso.storage.database import reading, writing

Row = TypeVar("Row", followers.Commit, recounting.Commit)
"""A row of the commit log."""


async def follower_of(engine: AsyncEngine, name: str, *, generation: int) -> Follower:
    """How far the follower of this name is; where it has not begun, it begins."""
    while True:
        async with reading(engine) as session:
            follower = await followers.by_name(session, name)
        if follower is not None:
            return follower
        async with writing(engine) as session:
            await cursors.start(session, name, generation)


def some(commits: Sequence[Row], *, most: int) -> Sequence[Row]:
    """The first of these rows that together name so many identities; those of one transaction stay together."""
    named = 0
    for number, commit in enumerate(commits):
        if named >= most and commit[:2] != commits[number - 1][:2]:
            return commits[:number]
        named += len(commit.identity_ids)
    return commits
