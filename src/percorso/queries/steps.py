"""Steps, bucket by bucket: what questions about the order of events are answered from."""

from asyncio import create_task, gather
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from percorso.analytics import steps as of
from percorso.analytics.steps import BUCKETS, Steps
from percorso.storage.database import ReadSession

Run = Callable[..., Awaitable[Any]]
"""Computes a function of what it is given in a thread."""

_PART_BYTES: Final = 8 * 1024 * 1024
"""Of steps in an array at once: what is computed of them takes several times as much."""
_PARTS_TOGETHER: Final = 6
"""Parts of a bucket that are read together."""
_ROWS: Final = 500
_READ: Final = "SELECT hour, steps FROM steps WHERE bucket = $1 AND hour > $2 AND hour < $3 ORDER BY hour LIMIT $4"
_SIZE: Final = "SELECT sum(octet_length(steps)) FROM steps WHERE bucket = $1 AND hour >= $2 AND hour < $3"


class _Lot(NamedTuple):
    """What was read together: of a bucket in so many parts, those of these numbers."""

    chunks: list[bytes]
    numbers: range
    parts: int


async def each(session: ReadSession, run: Run, take: Callable[[Steps], None], since: datetime, until: datetime) -> None:
    """Let `take` have all steps of a range of whole hours: at every call all of some customers, in order of time.

    All are as they were at one moment. A large bucket is read in parts of its customers, again for every few of them,
    so that memory does not grow with the store. While some are computed the next are read. Relies on the primary key
    `(bucket, hour)`.
    """
    async with session.transaction(isolation="repeatable_read", readonly=True):
        lots = _lots(session, run, since, until)
        ahead = create_task(_next(lots))
        try:
            while (lot := await ahead) is not None:
                ahead = create_task(_next(lots))
                for number in lot.numbers:
                    await run(_take, take, lot.chunks, number, lot.parts)
        finally:
            ahead.cancel()
            await gather(ahead, return_exceptions=True)
            await lots.aclose()


async def _lots(session: ReadSession, run: Run, since: datetime, until: datetime) -> AsyncGenerator[_Lot]:
    """All buckets, one after the other, the large ones in several lots."""
    for bucket in range(BUCKETS):
        most = _PART_BYTES * _PARTS_TOGETHER
        whole = await _chunks(session, run, bucket, since, until, most=most)
        if whole is not None:
            parts = -(-sum(map(len, whole)) // _PART_BYTES)
            yield _Lot(whole, range(parts), parts)
            continue
        # Only now, since to find it out takes as long as to read it all.
        parts = -(-int(await session.fetchval(_SIZE, bucket, since, until)) // _PART_BYTES)
        for first in range(0, parts, _PARTS_TOGETHER):
            numbers = range(first, min(first + _PARTS_TOGETHER, parts))
            some = await _chunks(session, run, bucket, since, until, numbers=numbers, parts=parts)
            yield _Lot(some or [], numbers, parts)


async def _next(lots: AsyncGenerator[_Lot]) -> _Lot | None:
    return await anext(lots, None)


async def _chunks(
    session: ReadSession,
    run: Run,
    bucket: int,
    since: datetime,
    until: datetime,
    *,
    most: int | None = None,
    numbers: range = range(1),
    parts: int = 1,
) -> list[bytes] | None:
    """What is stored of a bucket, or of these parts of it; None where it is more than `most` bytes."""
    chunks: list[bytes] = []
    after = since - timedelta(hours=1)
    while True:
        rows = await session.fetch(_READ, bucket, after, until, _ROWS)
        read = b"".join([row["steps"] for row in rows])
        if len(numbers) < parts:
            read = await run(_some, read, numbers, parts)
        chunks.append(read)
        if most is not None and sum(map(len, chunks)) > most:
            return None
        if len(rows) < _ROWS:
            return chunks
        after = rows[-1]["hour"]


def _take(take: Callable[[Steps], None], chunks: Sequence[bytes], number: int, parts: int) -> None:
    take(of.part(chunks, number, parts))


def _some(read: bytes, numbers: range, parts: int) -> bytes:
    return b"".join(of.part([read], number, parts).tobytes() for number in numbers)
