"""The latest interactions of a channel and kind, without an index of them: looked for from the newest back in time."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.analytics.deadline import Deadline
from percorso.storage.database import ReadSession

_AT_ONCE: Final = 1_000
"""In memory together, of up to 64 KiB each."""
_FIRST_STRIDE: Final = timedelta(seconds=10)
_TIMES: Final = 4
"""Each stride back is so many times as long as the one before, while that was quick."""
_QUICK_SECONDS: Final = 0.5
_SHARE_OF_TIME: Final = 0.6
"""Of the time that a call has: the rest is left for a stride that takes longer than those before."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some interactions, newest first: id and document. All since `since` were found that are among the latest."""

    items: Sequence[Record]
    since: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: a channel and kind; with `kind` None every kind, and none, but those in `other_than`."""

    channel: str
    kind: str | None
    other_than: Collection[str] = ()


async def interactions(session: ReadSession, wanted: Wanted, *, count: int, deadline: Deadline) -> AsyncIterator[Chunk]:
    """The latest `count`, newest first; less where there are no more, or where there is no time to look further back.

    Relies on the BRIN index on id of each partition: time is looked through in strides, so that what is dense is found
    at once, and what is rare ends with the time there is.
    """
    last = monotonic() + deadline.left() * _SHARE_OF_TIME
    oldest, high = await oldest_month(session), ids.HIGHEST
    since, stride = datetime.now(UTC), _FIRST_STRIDE
    while count and since > oldest and monotonic() < last:
        since = max(since - stride, oldest) if since - oldest > stride else oldest
        low, more = ids.first_id_at(since), True
        while count and more:
            asked, most = monotonic(), min(count, _AT_ONCE)
            items = await _between(session, wanted, low, high, most)
            more = len(items) == most
            count -= len(items)
            high = items[-1]["id"] if more else low
            yield Chunk(items, ids.from_unix_ms(ids.occurred_ms(high.bytes)) if more and not count else since)
        if monotonic() - asked < _QUICK_SECONDS:
            stride *= _TIMES


async def oldest_month(session: ReadSession) -> datetime:
    """The beginning of the oldest partition there is, by its name; now where there is none."""
    name = await session.fetchval(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        r"WHERE i.inhparent = 'interactions'::regclass AND c.relname ~ '^interactions_\d{4}_\d{2}$' "
        "ORDER BY c.relname LIMIT 1"
    )
    return datetime.now(UTC) if name is None else datetime.strptime(name, "interactions_%Y_%m").replace(tzinfo=UTC)


async def _between(session: ReadSession, wanted: Wanted, low: UUID, high: UUID, count: int) -> list[Record]:
    """The latest of a range of ids, the last excluded. Relies on the BRIN index on id of the partitions within it."""
    of_kind = "(kind IS NULL OR kind <> ALL($5::text[]))" if wanted.kind is None else "kind = $5"
    return await session.fetch(
        "SELECT id, document::text AS document FROM interactions WHERE id >= $1 AND id < $2 AND channel = $3 "
        f"AND {of_kind} ORDER BY id DESC LIMIT $4",
        low,
        high,
        wanted.channel,
        count,
        list(wanted.other_than) if wanted.kind is None else wanted.kind,
    )
