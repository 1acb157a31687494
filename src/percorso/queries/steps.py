"""Steps, bucket by bucket: what questions about the order of events are answered from."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from percorso.analytics import steps as of
from percorso.analytics.steps import BUCKETS, Steps
from percorso.storage.database import ReadSession

FOLLOWER: Final = "rollups"
"""Whose `as_of` steps are of: they are kept by the follower that keeps rollups."""

Run = Callable[..., Awaitable[Any]]
"""Computes a function of what it is given in a thread."""

_PART_BYTES: Final = 12 * 1024 * 1024
"""Of steps in an array at once: what is computed of them takes five times as much."""
_PARTS_TOGETHER: Final = 4
"""Parts of a bucket that are read together."""
_ROWS: Final = 2_000
_READ: Final = "SELECT hour, steps FROM steps WHERE bucket = $1 AND hour > $2 AND hour < $3 ORDER BY hour LIMIT $4"
_SIZE: Final = "SELECT coalesce(sum(octet_length(steps)), 0) FROM steps WHERE bucket = $1 AND hour >= $2 AND hour < $3"


async def each(session: ReadSession, run: Run, take: Callable[[Steps], None], since: datetime, until: datetime) -> None:
    """Let `take` have all steps of a range of whole hours: at every call all of some customers, in order of time.

    All are as they were at one moment. A large bucket is read in parts of its customers, again for every few of them,
    so that memory does not grow with the store. Relies on the primary key `(bucket, hour)`.
    """
    async with session.transaction(isolation="repeatable_read", readonly=True):
        for bucket in range(BUCKETS):
            size = await session.fetchval(_SIZE, bucket, since, until)
            parts = -(-int(size) // _PART_BYTES)
            for first in range(0, parts, _PARTS_TOGETHER):
                some = range(first, min(first + _PARTS_TOGETHER, parts))
                chunks = await _chunks(session, run, bucket, since, until, some, parts)
                for number in some:
                    await run(_take, take, chunks, number, parts)


async def _chunks(
    session: ReadSession, run: Run, bucket: int, since: datetime, until: datetime, some: range, parts: int
) -> list[bytes]:
    """What is stored of some parts of a bucket, or more."""
    chunks: list[bytes] = []
    after = since - timedelta(hours=1)
    while True:
        rows = await session.fetch(_READ, bucket, after, until, _ROWS)
        read = b"".join([row["steps"] for row in rows])
        if len(some) < parts:
            read = await run(_some, read, some, parts)
        chunks.append(read)
        if len(rows) < _ROWS:
            return chunks
        after = rows[-1]["hour"]


def _take(take: Callable[[Steps], None], chunks: Sequence[bytes], number: int, parts: int) -> None:
    take(of.part(chunks, number, parts))


def _some(read: bytes, some: range, parts: int) -> bytes:
    return b"".join(of.part([read], number, parts).tobytes() for number in some)
