"""The commit log: one row per transaction that stored or changed something, for whatever follows the changes."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal

from asyncpg.pgproto.pgproto import UUID

from percorso import ids
from percorso.storage.database import WriteSession

What = Literal["stored", "changed", "deleted", "said"]
"""What was done to interactions; or `said`: traits or consents of identities, whatever interactions they have."""

_HOUR_MS = 3_600_000


async def record(
    session: WriteSession,
    generation: int,
    what: What,
    *,
    at: datetime,
    occurred_ms: Iterable[int],
    identity_ids: Sequence[UUID],
    interaction_ids: Sequence[UUID],
) -> None:
    """Name what this transaction did; ids of interactions, where there are any, stand pairwise with the identities.

    The day's partition must exist.
    """
    await session.execute(
        "INSERT INTO commits (generation, xid8, at, what, hours, identity_ids, interaction_ids) "
        "VALUES ($1, pg_current_xact_id(), $2, $3, $4, $5, $6)",
        generation,
        at,
        what,
        hours(occurred_ms),
        identity_ids,
        interaction_ids,
    )


def hours(occurred_ms: Iterable[int]) -> list[datetime]:
    """The hours that these Unix times in ms fall in, each once, in order."""
    return [_hour(number) for number in sorted({moment // _HOUR_MS for moment in occurred_ms})]


def hour(occurred_ms: int) -> datetime:
    """The hour that this Unix time in ms falls in."""
    return _hour(occurred_ms // _HOUR_MS)


@lru_cache(4096)
def _hour(number: int) -> datetime:
    return ids.from_unix_ms(number * _HOUR_MS)
