"""The commit log: one row per transaction that stored or changed something, for whatever follows the changes.

Also one where customers changed while no interaction did: whose identities are whose (`identity`), or what is said of
them (`said`). It names those identities, and neither hours nor interactions. And one where it was found anew what came
of contacts (`outcome`), or where rules fired (`watch`), of whose customers it names an identity: both follow from the
others, and who follows those passes them over.
"""

import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.storage import copying
from percorso.storage.database import WriteSession

What = Literal["stored", "changed", "deleted", "identity", "said", "outcome", "watch"]
"""What a transaction did: with interactions; whose they are; traits and consents (`said`); or what follows from it."""

_COLUMNS: Final = ("generation", "at", "what", "hours", "identity_ids", "interaction_ids")
"""Those that are given: the transaction's id is there by default."""
_head: Final = struct.Struct(">hiiiq").pack
HOUR_MS: Final = 3_600_000
_FETCHED: Final = 20
"""Rows of the log read together: each names up to some thousands of interactions."""
_LATEST: Final = 10_000


async def record(
    session: WriteSession,
    generation: int,
    what: What,
    *,
    at: datetime,
    identity_ids: Sequence[UUID],
    interaction_ids: Sequence[UUID] = (),
    occurred_ms: Iterable[int] | None = None,
) -> None:
    """Name what this transaction did; ids of interactions, where there are any, stand pairwise with the identities.

    The hours are those of the interactions, unless `occurred_ms` says them. The day's partition must exist.
    """
    if occurred_ms is None:
        occurred_ms = (ids.occurred_ms(interaction_id.bytes) for interaction_id in interaction_ids)
    row = (
        _head(len(_COLUMNS), 4, generation, 8, copying.microseconds(at)),
        copying.text(what),
        copying.moments(hours(occurred_ms)),
        copying.uuids(identity_ids),
        copying.uuids(interaction_ids),
    )
    await copying.copy(session, "commits", _COLUMNS, row)


async def latest(session: WriteSession) -> AsyncIterator[Sequence[UUID]]:
    """The identities under which each of the latest commits stored interactions, the last commit first.

    Within a transaction; relies on the primary key. There are no more than `_LATEST`.
    """
    rows = session.cursor(
        "SELECT identity_ids FROM commits WHERE what NOT IN ('outcome', 'watch') "
        "ORDER BY generation DESC, xid8 DESC LIMIT $1",
        _LATEST,
        prefetch=_FETCHED,
    )
    async for row in rows:
        yield row["identity_ids"]


def hours(occurred_ms: Iterable[int]) -> list[datetime]:
    """The hours that these Unix times in ms fall in, each once, in order."""
    return [_hour(number) for number in sorted({moment // HOUR_MS for moment in occurred_ms})]


def hour(occurred_ms: int) -> datetime:
    """The hour that this Unix time in ms falls in."""
    return _hour(occurred_ms // HOUR_MS)


@lru_cache(4096)
def _hour(number: int) -> datetime:
    return ids.from_unix_ms(number * HOUR_MS)
