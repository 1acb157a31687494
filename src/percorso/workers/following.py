"""Where a worker that follows the commit log has come to."""

from sqlalchemy.ext.asyncio import AsyncEngine

from percorso.queries import followers
from percorso.queries.followers import Follower
from percorso.storage import followers as cursors
from percorso.storage.database import reading, writing


async def follower_of(engine: AsyncEngine, name: str, *, generation: int) -> Follower:
    """How far the follower of this name is; where it has not begun, it begins."""
    while True:
        async with reading(engine) as session:
            follower = await followers.by_name(session, name)
        if follower is not None:
            return follower
        async with writing(engine) as session:
            await cursors.start(session, name, generation)
