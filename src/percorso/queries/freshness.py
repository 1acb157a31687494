"""Up to which moment what is kept of touchpoints follows what was committed."""

from datetime import datetime
from typing import NamedTuple

from percorso.queries import followers, profiles, recounting
from percorso.storage.database import ReadSession


class Freshness(NamedTuple):
    """All committed before `counts` is counted; of what came of contacts, such as response times, before `contacts`.

    None while a first pass over what is stored is not complete.
    """

    counts: datetime | None
    contacts: datetime | None


async def freshness(session: ReadSession) -> Freshness:
    """As of now. What came of contacts is found by the follower that keeps profiles, and counted by the other."""
    told = await followers.as_of_each(session, recounting.FOLLOWER, profiles.FOLLOWER)
    both = len(told) > 1
    return Freshness(told.get(recounting.FOLLOWER), min(told.values()) if both else None)
