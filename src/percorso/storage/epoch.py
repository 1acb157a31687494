"""The epoch: by it processes learn that what they remember of links and identities may be wrong.

It grows with every split, merge, demotion, restoration and erasure. A transaction that stores interactions says by
which epoch its process remembers; where that is no longer the epoch, it does nothing, and the process forgets and tries
again.

To be told in time, it first takes the erasure lock together with all its like, and only then looks. An erasure takes
that lock alone, and lets the epoch grow before it lets go: whoever stores something either has committed before the
erasure begins, and is found by it, or knows nothing any more of whom it erases.

The locks of identity are taken in this order: erasure, links (`linking.LOCK`), the row of the epoch. Whoever takes the
first as the first lock of a transaction cannot deadlock.
"""

from typing import Final

import asyncpg

from percorso.storage.database import WriteSession

ERASURE_LOCK: Final = 0x70657263_65726173
"""Advisory lock: shared by whoever stores interactions or changes identities, taken alone by an erasure."""


class OutOfDate(asyncpg.PostgresError):
    """What a process remembers is of an older epoch than `epoch`; the transaction did nothing."""

    sqlstate = "PC001"

    @property
    def epoch(self) -> int:
        """The epoch there is."""
        return int(self.detail or 0)


ENTER: Final = f"""
    PERFORM pg_advisory_xact_lock_shared({ERASURE_LOCK});
    SELECT epoch INTO now_is FROM identity_epoch;
    IF now_is <> the_epoch THEN
        RAISE EXCEPTION USING ERRCODE = '{OutOfDate.sqlstate}', MESSAGE = 'of an older epoch', DETAIL = now_is::text;
    END IF;
"""
"""How a function in PL/pgSQL begins that stores something: `the_epoch` is a parameter, `now_is` a variable of it."""

_ENTER: Final = f"""
CREATE OR REPLACE FUNCTION pg_temp.percorso_enter(the_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_is bigint;
BEGIN
    {ENTER.strip()}
END $$
"""


async def define(session: WriteSession) -> None:
    """Define for this connection what `enter` calls."""
    await session.execute(_ENTER)


async def current(session: WriteSession) -> int:
    """The epoch there is."""
    return int(await session.fetchval("SELECT epoch FROM identity_epoch"))


async def enter(session: WriteSession, epoch: int) -> None:
    """Begin a transaction of a process that remembers by this epoch; OutOfDate where that is no longer it."""
    await session.execute("SELECT pg_temp.percorso_enter($1)", epoch)


async def share(session: WriteSession) -> None:
    """Begin a transaction that relies on nothing remembered: no erasure is under way until it ends."""
    await session.execute("SELECT pg_advisory_xact_lock_shared($1)", ERASURE_LOCK)


async def bump(session: WriteSession) -> None:
    """Let every process forget what it remembers, once this transaction is committed; under the lock on links."""
    await session.execute("UPDATE identity_epoch SET epoch = epoch + 1")
